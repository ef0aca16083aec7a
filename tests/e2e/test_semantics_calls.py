"""What a call to another actor does: arguments, results, errors, cancellation."""

from __future__ import annotations

import re
import uuid
from datetime import datetime
from decimal import Decimal
from functools import partial

import pytest
import semantics_endpoints as endpoints
import trio
from semantics_tree import Scenario, Tree, in_memory, on_processes

import tractor_core as tractor
from tractor_core.errors import RemoteActorError

SCENARIOS: list[Scenario] = []


def scenario(function: Scenario) -> Scenario:
    SCENARIOS.append(function)
    return function


def a_row() -> endpoints.Row:
    return endpoints.Row(
        uuid.uuid4(), datetime(2024, 2, 29, 12), endpoints.Colour.BLUE, {"x", "y"}, (3, 4), Decimal("1.50")
    )


# -- arguments and results -------------------------------------------------------------------


@scenario
async def arguments_by_position_and_name(tree: Tree) -> None:
    run = tree.portal.run
    assert await run(endpoints.add, 1) == 1
    assert await run(endpoints.add, 1, 2) == 3
    assert await run(endpoints.add, y=2, x=1) == 3
    assert await run(endpoints.untyped, {"a": 1}, other=None) == [{"a": 1}, None]
    assert await run(endpoints.variadic, 1, 2, a="b") == [[1, 2], {"a": "b"}]


@scenario
async def parameters_may_have_any_name(tree: Tree) -> None:
    given = {"name": "n", "fn": 1, "self": 2, "target": "t", "args": 3, "kwargs": 4}
    assert await tree.portal.run(endpoints.named, **given) == list(given.values())


@scenario
async def typed_values_arrive_as_what_they_are(tree: Tree) -> None:
    row = a_row()
    kinds = await tree.portal.run(endpoints.describe_row, row, rows=[row])
    assert kinds == [
        "Row", "UUID", "datetime", "Colour", "set", "tuple", "Decimal", "Row", "set", "tuple",
    ]  # fmt: skip
    assert await tree.portal.run(endpoints.same_row, row) == row


@scenario
async def wrong_arguments_never_reach_the_endpoint(tree: Tree) -> None:
    key = tree.key()
    run = partial(tree.portal.run, endpoints.note_run)
    attempts = [
        (partial(run, key, "three"), "value"),
        (partial(run, key), "value"),
        (partial(run, key, 1, 2), "2 positional"),
        (partial(run, key=key, value=1, more=2), "more"),
        (partial(run, key, 1, value=2), "value"),
        (partial(run, 5, 1), "key"),
    ]
    for attempt, named in attempts:
        with pytest.raises(tractor.MsgTypeError, match=named) as caught:
            await attempt()
        assert isinstance(caught.value, TypeError)
        assert caught.value.src_uid == tree.worker
    assert await tree.noted(key) == []


@scenario
async def the_place_of_a_wrong_value_is_named(tree: Tree) -> None:
    row = {"id": "no uuid", "at": "2024-01-01", "colour": "red", "tags": [], "size": [1, 2], "price": "1"}
    with pytest.raises(tractor.MsgTypeError) as caught:
        await tree.portal.run(endpoints.same_row, row)
    assert caught.value.path == "$.row.id"


@scenario
async def what_cannot_be_encoded_fails_at_the_caller(tree: Tree) -> None:
    before = len(tree.portal.chan.dialogs)
    with pytest.raises(TypeError, match=re.escape("kwargs['value']['rows'][1]['callback']")) as caught:
        await tree.portal.run(endpoints.echo, value={"rows": [1, {"callback": print}]})
    assert not isinstance(caught.value, RemoteActorError)
    for value in (2**70, "\ud800", float):
        with pytest.raises((TypeError, ValueError, OverflowError), match="args"):
            await tree.portal.run(endpoints.echo, value)
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(ValueError, match="contains itself"):
        await tree.portal.run(endpoints.echo, endless)
    assert len(tree.portal.chan.dialogs) == before


@scenario
async def a_result_that_cannot_be_encoded_is_the_callees_error(tree: Tree) -> None:
    with pytest.raises(RemoteActorError, match=r"\['rows'\]\[1\]\['callback'\]") as caught:
        await tree.portal.run(endpoints.unencodable_result)
    assert caught.value.boxed_type is TypeError


@scenario
async def a_result_against_its_annotation_is_refused(tree: Tree) -> None:
    for function in (endpoints.wrong_result, endpoints.dict_as_row):
        with pytest.raises(tractor.MsgTypeError, match=function.__name__) as caught:
            await tree.portal.run(function)
        assert caught.value.src_uid == tree.worker


@scenario
async def large_values_go_in_pieces(tree: Tree) -> None:
    assert await tree.portal.run(endpoints.size_of, bytes(20 * 2**20)) == 20 * 2**20
    assert len(await tree.portal.run(endpoints.echo, bytes(3 * 2**20))) == 3 * 2**20


@scenario
async def small_calls_overtake_large_ones(tree: Tree) -> None:
    order: list[str] = []

    async def large() -> None:
        await tree.portal.run(endpoints.size_of, bytes(20 * 2**20))
        order.append("large")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(large)
        await trio.lowlevel.checkpoint()
        for _ in range(5):
            assert await tree.portal.run(endpoints.add, 1, 1) == 2
        order.append("small")
    assert order == ["small", "large"]


# -- what may be called ----------------------------------------------------------------------


@scenario
async def only_exposed_functions_can_be_called(tree: Tree) -> None:
    with pytest.raises(tractor.ModuleNotExposed, match="leak_guard|not exposed|test_semantics_calls"):
        await tree.portal.run(unexposed)
    with pytest.raises(tractor.ModuleNotExposed, match="_hidden"):
        await tree.portal.run(endpoints._hidden)
    with pytest.raises(ModuleNotFoundError, match="did you mean"):
        await tree.portal.run_from_ns(endpoints.__name__, "ad")
    with pytest.raises(tractor.ModuleNotExposed, match="trio"):
        await tree.portal.run_from_ns("trio", "sleep", seconds=1)
    with pytest.raises(tractor.ModuleNotExposed, match="it serves"):
        await tree.portal.run_from_ns("self", "cancel_soon")


async def unexposed() -> None:
    raise AssertionError("must not be callable")


@scenario
async def only_async_functions_of_modules_can_be_named(tree: Tree) -> None:
    async def nested() -> None: ...

    for wrong in (
        nested,
        endpoints.not_async,
        endpoints.Holder().method,
        partial(endpoints.add, 1),
        len,
        5,
        lambda: 1,
    ):
        for way in (tree.portal.run, tree.portal.open_context):
            with pytest.raises(TypeError):
                result = way(wrong)
                await result


@scenario
async def each_kind_has_its_own_way(tree: Tree) -> None:
    with pytest.raises(TypeError, match=r"open_context\(\)"):
        await tree.portal.run(endpoints.echoes)
    with pytest.raises(TypeError, match=r"open_stream_from\(\)"):
        await tree.portal.run(endpoints.numbers, 3)
    with pytest.raises(TypeError, match=r"run\(\)"):
        async with tree.portal.open_context(endpoints.add):
            pass
    with pytest.raises(TypeError, match=r"open_context\(\)"):
        async with tree.portal.open_stream_from(endpoints.echoes):
            pass
    # Asked for by name, the peer itself says so.
    with pytest.raises(RemoteActorError, match="context") as caught:
        await tree.portal.run_from_ns(endpoints.__name__, "echoes")
    assert caught.value.boxed_type is TypeError


# -- errors ----------------------------------------------------------------------------------


@scenario
async def an_error_comes_boxed(tree: Tree) -> None:
    with pytest.raises(RemoteActorError) as caught:
        await tree.portal.run(endpoints.fail, "went wrong")
    error = caught.value
    assert type(error) is RemoteActorError
    assert error.boxed_type is error.src_type is endpoints.OwnError
    assert error.src_uid == error.relay_uid == tree.worker
    assert error.relay_path == (tree.worker,)
    assert not error.is_inception()
    assert error.notes == ("a note",)
    assert "went wrong" in error.message
    assert "semantics_endpoints.py" in error.tb_str and "a note" in error.pformat()
    original = error.unwrap()
    assert type(original) is endpoints.OwnError
    assert original.args == ("went wrong", 7)
    assert original.__cause__ is error


@scenario
async def causes_and_groups_keep_their_shape(tree: Tree) -> None:
    with pytest.raises(RemoteActorError) as caught:
        await tree.portal.run(endpoints.fail_from_cause)
    assert isinstance(caught.value.__cause__, RemoteActorError)
    assert caught.value.__cause__.boxed_type is KeyError
    with pytest.raises(RemoteActorError) as caught:
        await tree.portal.run(endpoints.fail_with_group)
    assert caught.value.boxed_type is ExceptionGroup
    original = caught.value.unwrap()
    assert isinstance(original, ExceptionGroup)
    assert [type(error) for error in original.exceptions] == [ValueError, ExceptionGroup]
    inner = original.exceptions[1]
    assert isinstance(inner, ExceptionGroup)
    assert str(inner.exceptions[0]) == "two"


@scenario
async def an_error_that_cannot_be_rebuilt_stays_boxed(tree: Tree) -> None:
    with pytest.raises(RemoteActorError) as caught:
        await tree.portal.run(endpoints.fail_strangely)
    assert caught.value.boxed_type is endpoints.NotToldError
    assert caught.value.unwrap() is caught.value


@scenario
async def exits_in_an_endpoint_are_reported(tree: Tree) -> None:
    for kind, name in (
        ("exit", "SystemExit"),
        ("generator", "GeneratorExit"),
        ("interrupt", "KeyboardInterrupt"),
    ):
        with pytest.raises(RemoteActorError, match="on purpose") as caught:
            await tree.portal.run(endpoints.fail_with, kind)
        assert caught.value.boxed_type_str == name
        assert caught.value.boxed_type is RemoteActorError


@scenario
async def a_stray_cancelled_is_an_error_like_others(tree: Tree) -> None:
    with pytest.raises(RemoteActorError) as caught:
        await tree.portal.run(endpoints.leak_cancelled)
    assert not isinstance(caught.value, tractor.ContextCancelled)
    assert "Cancelled" in str(caught.value)


@scenario
async def errors_cross_levels_and_keep_their_source(tree: Tree) -> None:
    leaf = await tree.start("leaf")
    with pytest.raises(RemoteActorError) as caught:
        await tree.portal.run(endpoints.fail_below, "leaf", "deep")
    error = caught.value
    assert error.boxed_type is RemoteActorError
    assert error.is_inception()
    assert error.src_type is endpoints.OwnError
    assert error.src_uid == leaf.chan.aid.uid
    assert error.relay_path == (leaf.chan.aid.uid, tree.worker)
    assert error.relay_uid == tree.worker
    assert error.notes == ("a note",)
    original = error.unwrap()
    assert type(original) is endpoints.OwnError and original.args == ("deep", 7)
    with pytest.raises(RemoteActorError) as caught:
        await tree.portal.run(endpoints.call_below, "leaf", "fail_with_group")
    assert isinstance(caught.value.unwrap(), ExceptionGroup)
    with pytest.raises(RemoteActorError) as caught:
        await tree.portal.run(endpoints.call_below, "leaf", "wrong_result")
    assert caught.value.src_type is tractor.MsgTypeError
    assert caught.value.relay_path == (leaf.chan.aid.uid, tree.worker)
    await leaf.cancel_actor()


# -- cancellation ----------------------------------------------------------------------------


@scenario
async def cancelling_a_call_ends_the_remote_task_first(tree: Tree) -> None:
    key = tree.key()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tree.portal.run, endpoints.wait_for_ever, key)
        await tree.until(key, "waiting")
        nursery.cancel_scope.cancel()
    assert await tree.noted(key) == ["waiting", "ended"]


@scenario
async def deadlines_around_calls(tree: Tree) -> None:
    key = tree.key()
    async with trio.open_nursery() as nursery:
        with trio.move_on_after(60) as scope:
            nursery.start_soon(tree.expire, scope, key)
            await tree.portal.run(endpoints.wait_for_ever, key)
    assert scope.cancelled_caught
    assert await tree.noted(key) == ["waiting", "ended"]
    with pytest.raises(trio.TooSlowError):
        with trio.fail_after(0.05):
            await tree.portal.run(endpoints.wait_for_ever, key)
    assert await tree.noted(key) in (["waiting", "ended"], ["waiting", "ended"] * 2)


@scenario
async def a_call_in_a_cancelled_scope_never_starts(tree: Tree) -> None:
    key = tree.key()
    with trio.CancelScope() as scope:
        scope.cancel()
        await tree.portal.run(endpoints.note_run, key, 1)
    assert scope.cancelled_caught
    assert await tree.noted(key) == []


@scenario
async def cancelling_a_call_whose_arguments_are_under_way(tree: Tree) -> None:
    """The cancel must not overtake what it cancels."""
    key = tree.key()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(tree.portal.run, endpoints.hold, key=key, value=bytes(20 * 2**20)))
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert await tree.noted(key) in ([], ["holding", "ended"])


@scenario
async def an_error_while_being_cancelled_is_not_lost(tree: Tree) -> None:
    key = tree.key()
    with pytest.raises(RemoteActorError) as caught:
        async with tree.portal.open_context(endpoints.fails_when_cancelled, key=key) as (context, _):
            await tree.until(key, "waiting")
            await context.cancel()
            await trio.sleep_forever()
    assert context.maybe_error is caught.value
    assert caught.value.boxed_type is ExceptionGroup
    original = caught.value.unwrap()
    assert isinstance(original, ExceptionGroup)
    assert [str(error) for error in original.exceptions] == ["while cancelled"]


@scenario
async def cancels_race_with_results(tree: Tree) -> None:
    ended = []

    async def attempt(index: int) -> None:
        with trio.move_on_after(index * 1e-4):
            ended.append(await tree.portal.run(endpoints.sleep_and_return, 0.005, index))

    async with trio.open_nursery() as nursery:
        for index in range(100):
            nursery.start_soon(attempt, index)
    assert ended == sorted(set(ended)) or set(ended) <= set(range(100))
    assert not tree.portal.chan.dialogs or await idle(tree)


async def idle(tree: Tree) -> bool:
    """No dialog is left at either end, apart from the runtime's own."""
    status = await tree.portal.run_from_ns("self", "status")
    return bool(status["dialogs"] <= 2)


@scenario
async def many_calls_at_once(tree: Tree) -> None:
    results: dict[int, int] = {}

    async def one(index: int) -> None:
        results[index] = await tree.portal.run(endpoints.add, index, 1)

    async with trio.open_nursery() as nursery:
        for index in range(1000):
            nursery.start_soon(one, index)
    assert results == {index: index + 1 for index in range(1000)}


# -- around ----------------------------------------------------------------------------------


@scenario
async def a_call_serves_no_context(tree: Tree) -> None:
    assert tractor.current_ipc_ctx() is None
    with pytest.raises(tractor.NoRuntime):
        tractor.current_ipc_ctx(error_on_not_set=True)
    assert await tree.portal.run(endpoints.whose_context) is False


@scenario
async def old_spellings_warn_and_work(tree: Tree) -> None:
    with pytest.warns(DeprecationWarning, match="run"):
        assert await tree.portal.run(endpoints.__name__, "add", x=1, y=2) == 3
    with pytest.warns(DeprecationWarning, match="run"), pytest.raises(TypeError, match="name of a function"):
        await tree.portal.run(endpoints.__name__)
    with pytest.warns(DeprecationWarning, match="wait_for_result"), pytest.warns(UserWarning, match="daemon"):
        assert await tree.portal.result() is tractor.errors.NoResult
    assert tree.portal.channel is tree.portal.chan
    with pytest.warns(DeprecationWarning, match="aid.uid"):
        assert tree.portal.chan.uid == tree.worker


@scenario
async def a_portal_to_oneself(tree: Tree) -> None:
    address = tractor.current_actor().accept_addrs[0]
    async with tractor.open_portal(address) as portal:
        with pytest.raises(RuntimeError, match="same actor"):
            async with portal.open_context(endpoints.echoes):
                pass
        with pytest.raises(RuntimeError, match="same actor"):
            async with portal.open_stream_from(endpoints.numbers, count=3):
                pass
        # A call does not wait for itself: it is refused or served like any other.
        with pytest.raises(tractor.ModuleNotExposed):
            await portal.run(endpoints.add, 1)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_in_virtual_time(scenario: Scenario, autojump_clock: trio.testing.MockClock) -> None:
    await in_memory(scenario)


@pytest.mark.limit(60)
async def test_on_real_processes(every_registry: str) -> None:
    await on_processes(SCENARIOS, every_registry)
