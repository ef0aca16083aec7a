"""What a context does: its beginning, its end, and who is told what by whose cancel or error."""

from __future__ import annotations

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


# -- beginning and end -----------------------------------------------------------------------


@scenario
async def first_value_and_result(tree: Tree) -> None:
    async with tree.portal.open_context(endpoints.ends, how="return", value=4) as (context, first):
        assert first == 4
        assert context.side == "parent" and context.peer_side == "child"
        assert context.chan is tree.portal.chan and context.portal is tree.portal
        assert await context.wait_for_result() == 5
        assert await context.wait_for_result() == 5
        with pytest.warns(DeprecationWarning, match="wait_for_result"):
            assert await context.result() == 5
    assert context.has_outcome and context.outcome == 5
    assert context.maybe_error is None
    context.maybe_raise()
    assert not context.cancel_called and not context.cancelled_caught


@scenario
async def leaving_waits_for_the_remote_task(tree: Tree) -> None:
    key = tree.key()
    async with tree.portal.open_context(endpoints.ends, how="return", key=key, value=4) as (context, _):
        pass
    assert context.outcome == 5
    assert await tree.noted(key) == ["ended"]


@scenario
async def the_callee_knows_its_context(tree: Tree) -> None:
    async with tree.portal.open_context(endpoints.checks_identity) as (context, first):
        assert first is True
        result = await context.wait_for_result()
    assert result == [[True], "child", "parent", context.cid, list(tree.uid)]


@scenario
async def started_is_for_once_and_for_the_callee(tree: Tree) -> None:
    async with tree.portal.open_context(endpoints.twice_started) as (context, first):
        with pytest.raises(RuntimeError, match="not for its opener"):
            await context.started(3)
        assert first == 1
        assert "already called" in await context.wait_for_result()


@scenario
async def no_stream_before_started(tree: Tree) -> None:
    async with tree.portal.open_context(endpoints.streams_too_early) as (context, _):
        assert "started()" in await context.wait_for_result()


@scenario
async def returning_without_started_is_an_error(tree: Tree) -> None:
    with pytest.raises(RemoteActorError, match="without calling started") as caught:
        async with tree.portal.open_context(endpoints.never_started):
            raise AssertionError("there is no first value")
    assert caught.value.boxed_type is RuntimeError


@scenario
async def wrong_arguments_never_reach_the_function(tree: Tree) -> None:
    key = tree.key()
    attempts = [
        {"how": 3, "key": key},
        {"key": key},
        {"how": "return", "key": key, "more": 1},
        {"how": "return", "key": key, "ctx": 1},
    ]
    for arguments in attempts:
        with pytest.raises(tractor.MsgTypeError):
            async with tree.portal.open_context(endpoints.ends, **arguments):
                raise AssertionError("it must not start")
    with pytest.raises(TypeError, match=r"kwargs\['how'\]"):
        async with tree.portal.open_context(endpoints.ends, how=print):
            raise AssertionError("it must not start")
    assert await tree.noted(key) == []


# -- errors ----------------------------------------------------------------------------------


@scenario
async def an_error_before_started(tree: Tree) -> None:
    key = tree.key()
    with pytest.raises(RemoteActorError, match="early") as caught:
        async with tree.portal.open_context(endpoints.ends, how="fail early", key=key):
            raise AssertionError("there is no first value")
    assert caught.value.boxed_type is endpoints.OwnError
    assert await tree.noted(key) == ["ended"]


@scenario
async def an_error_interrupts_the_block(tree: Tree) -> None:
    """Also one that waits for something else entirely."""
    cleaned_up = False
    with pytest.raises(RemoteActorError, match="late") as caught:
        async with tree.portal.open_context(endpoints.ends, how="fail") as (context, _):
            try:
                await trio.sleep_forever()
            finally:
                cleaned_up = True
    assert cleaned_up
    assert caught.value.boxed_type is endpoints.OwnError
    assert caught.value is context.maybe_error is context.outcome
    with pytest.raises(RemoteActorError):
        context.maybe_raise()


@scenario
async def an_error_in_the_stream(tree: Tree) -> None:
    for wait_how in ("receive", "sleep", "nursery"):
        with pytest.raises(RemoteActorError, match="in stream") as caught:
            async with tree.portal.open_context(endpoints.ends, how="fail in stream") as (context, _):
                async with context.open_stream() as stream:
                    await stream.send(1)
                    if wait_how == "receive":
                        await stream.receive()
                    elif wait_how == "sleep":
                        await trio.sleep_forever()
                    else:
                        async with trio.open_nursery() as nursery:
                            nursery.start_soon(stream.receive)
                            nursery.start_soon(trio.sleep_forever)
        assert caught.value.boxed_type is endpoints.OwnError
        assert caught.value is context.maybe_error


@scenario
async def the_blocks_own_error_wins(tree: Tree) -> None:
    key = tree.key()
    error = KeyError("mine")
    with pytest.raises(KeyError) as caught:
        async with tree.portal.open_context(endpoints.ends, how="wait", key=key) as (context, _):
            await tree.until(key, "waiting")
            raise error
    assert caught.value is error
    assert caught.value.__context__ is None and caught.value.__cause__ is None
    assert await tree.noted(key) == ["waiting", "ended"]
    assert context.cancel_called and context.cancel_acked and not context.cancelled_caught
    assert isinstance(context.maybe_error, tractor.ContextCancelled)
    context.maybe_raise()


@scenario
async def an_error_beside_the_blocks_own_is_kept(tree: Tree) -> None:
    with pytest.raises(KeyError) as caught:
        async with tree.portal.open_context(endpoints.ends, how="fail") as (context, _):
            try:
                await trio.sleep_forever()
            finally:
                raise KeyError("mine") from None
    assert isinstance(context.maybe_error, RemoteActorError)
    assert caught.value.__context__ is not None


@scenario
async def several_contexts_and_one_error(tree: Tree) -> None:
    """One fails, the others are cancelled by their blocks' end, the error comes bare."""
    key = tree.key()
    with pytest.raises(RemoteActorError, match="late"):
        async with tree.portal.open_context(endpoints.ends, how="wait", key=key) as (first, _):
            await tree.until(key, "waiting")
            async with tree.portal.open_context(endpoints.ends, how="fail") as (_, _):
                await trio.sleep_forever()
    assert await tree.noted(key) == ["waiting", "ended"]
    assert first.cancel_called


# -- who cancels -----------------------------------------------------------------------------


@scenario
async def the_opener_cancels(tree: Tree) -> None:
    key = tree.key()
    async with tree.portal.open_context(endpoints.ends, how="wait", key=key) as (context, _):
        await tree.until(key, "waiting")
        await context.cancel()
        assert context.cancel_called and context.cancel_acked
        with pytest.raises(RuntimeError, match="cancelled"):
            async with context.open_stream():
                pass
        outcome = await context.wait_for_result()
        # The remote task has cleaned up by the time anything here is told.
        assert await tree.noted(key) == ["waiting", "ended"]
        await context.cancel()
    assert isinstance(outcome, tractor.ContextCancelled)
    assert outcome.canceller == context.canceller == tree.uid
    assert outcome.src_uid == tree.worker
    assert isinstance(outcome.canceller, tuple)
    assert context.cancelled_caught
    assert context.outcome is outcome is await context.wait_for_result()
    context.maybe_raise()


@scenario
async def cancelling_is_absorbed_wherever_the_block_waits(tree: Tree) -> None:
    for wait_how in ("not", "receive", "nursery"):
        key = tree.key()
        async with tree.portal.open_context(endpoints.ends, how="wait in stream", key=key) as (context, _):
            async with context.open_stream() as stream:
                await tree.until(key, "waiting")
                await context.cancel()
                if wait_how == "receive":
                    await stream.receive()
                elif wait_how == "nursery":
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(stream.receive)
        assert context.cancelled_caught
        assert await tree.noted(key) == ["waiting", "ended"]


@scenario
async def cancelling_an_ended_context_changes_nothing(tree: Tree) -> None:
    async with tree.portal.open_context(endpoints.ends, how="return", value=1) as (context, _):
        assert await context.wait_for_result() == 2
        await context.cancel()
    assert context.outcome == 2
    assert not context.cancelled_caught


@scenario
async def the_callee_cancels_itself(tree: Tree) -> None:
    key = tree.key()
    with pytest.raises(tractor.ContextCancelled) as caught:
        async with tree.portal.open_context(endpoints.ends, how="cancel itself", key=key) as (context, _):
            await trio.sleep_forever()
    assert caught.value.canceller == tree.worker
    assert caught.value.canceller != tree.uid
    assert not context.cancel_called and not context.cancelled_caught
    assert await tree.noted(key) == ["ended"]


@scenario
async def a_third_party_cancels(tree: Tree) -> None:
    victim = await tree.start("victim")
    key = tree.key()
    with pytest.raises(tractor.ContextCancelled) as caught:
        async with victim.open_context(endpoints.ends, how="wait", key=key) as (context, _):
            await tree.until(key, "waiting", victim)
            assert await tree.portal.run(endpoints.cancel_actor, "victim") is True
            await trio.sleep_forever()
    assert caught.value.canceller == context.canceller == tree.worker
    assert not context.cancelled_caught


@scenario
async def the_opener_cancels_the_whole_actor(tree: Tree) -> None:
    """The cancel is this actor's, by whichever call: absorbed."""
    victim = await tree.start("victim")
    key = tree.key()
    async with victim.open_context(endpoints.ends, how="wait", key=key) as (context, _):
        await tree.until(key, "waiting", victim)
        assert await victim.cancel_actor()
    assert context.cancelled_caught
    assert context.canceller == tree.uid


@scenario
async def a_relayed_cancel_says_where_it_came_from(tree: Tree) -> None:
    leaf = await tree.start("leaf")
    with pytest.raises(RemoteActorError) as caught:
        async with tree.portal.open_context(endpoints.open_below, name="leaf", how="cancel itself"):
            await trio.sleep_forever()
    assert caught.value.src_type is tractor.ContextCancelled
    assert caught.value.relay_path == (leaf.chan.aid.uid, tree.worker)
    await leaf.cancel_actor()


@scenario
async def cancelling_reaches_through_levels(tree: Tree) -> None:
    leaf = await tree.start("leaf")
    key = tree.key()
    async with tree.portal.open_context(endpoints.open_below, name="leaf", how="wait", key=key) as (
        context,
        _,
    ):
        await tree.until(key, "waiting", leaf)
        await context.cancel()
    assert context.cancelled_caught
    assert await tree.noted(key, leaf) == ["waiting", "ended"]
    await leaf.cancel_actor()


@scenario
async def an_error_below_comes_up_through_contexts(tree: Tree) -> None:
    leaf = await tree.start("leaf")
    with pytest.raises(RemoteActorError, match="late") as caught:
        async with tree.portal.open_context(endpoints.open_below, name="leaf", how="fail"):
            await trio.sleep_forever()
    assert caught.value.src_type is endpoints.OwnError
    assert caught.value.relay_path == (leaf.chan.aid.uid, tree.worker)
    assert caught.value.is_inception()
    await leaf.cancel_actor()


# -- deadlines -------------------------------------------------------------------------------


@scenario
async def a_deadline_around_a_context(tree: Tree) -> None:
    for how in ("wait", "wait in stream"):
        key = tree.key()
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(60) as scope:
                nursery.start_soon(tree.expire, scope, key)
                async with tree.portal.open_context(endpoints.ends, how=how, key=key) as (context, _):
                    if how == "wait":
                        await trio.sleep_forever()
                    async with context.open_stream() as stream:
                        await stream.receive()
        assert scope.cancelled_caught
        assert context.cancel_called and not context.cancelled_caught
        assert await tree.noted(key) == ["waiting", "ended"]
    with pytest.raises(trio.TooSlowError):
        with trio.fail_after(0.05):
            async with tree.portal.open_context(endpoints.ends, how="wait"):
                await trio.sleep_forever()


@scenario
async def a_deadline_inside_a_context_leaves_it_alone(tree: Tree) -> None:
    async with tree.portal.open_context(endpoints.echoes) as (context, _):
        with trio.move_on_after(0.02) as scope:
            await context.wait_for_result()
        assert scope.cancelled_caught and not context.cancel_called
        async with context.open_stream() as stream:
            await stream.send(1)
            assert await stream.receive() == 1
            with trio.move_on_after(0.02) as scope:
                await stream.receive()
            assert scope.cancelled_caught
            await stream.send(2)
            assert await stream.receive() == 2
        assert await context.wait_for_result() == "echoed"


@scenario
async def a_cancelled_scope_opens_nothing(tree: Tree) -> None:
    key = tree.key()
    with trio.CancelScope() as scope:
        scope.cancel()
        async with tree.portal.open_context(endpoints.ends, how="return", key=key):
            raise AssertionError("it must not start")
    assert scope.cancelled_caught
    assert await tree.noted(key) == []


@scenario
async def cancelled_while_starting(tree: Tree) -> None:
    """Before ``started()``: the remote task is ended all the same."""
    key = tree.key()
    async with trio.open_nursery() as nursery:
        with trio.move_on_after(60) as scope:
            nursery.start_soon(tree.expire, scope, key)
            async with tree.portal.open_context(endpoints.never_gets_started, key=key):
                raise AssertionError("there is no first value")
    assert await tree.noted(key) == ["waiting", "ended"]


@scenario
async def the_opener_waits_for_a_slow_clean_up(tree: Tree) -> None:
    key = tree.key()
    async with tree.portal.open_context(endpoints.cleans_up_slowly, key=key, seconds=0.7) as (context, _):
        await tree.until(key, "waiting")
        await context.cancel()
    assert context.cancelled_caught
    assert await tree.noted(key) == ["waiting", "cleaned up"]


# -- contracts -------------------------------------------------------------------------------


@scenario
async def a_bad_first_value_can_be_corrected(tree: Tree) -> None:
    key = tree.key()
    async with tree.portal.open_context(endpoints.contracted, key=key) as (context, first):
        assert first == 1
        async with context.open_stream() as stream:
            await stream.send(7)
            assert await stream.receive() == 7
    assert (await tree.noted(key))[0].startswith("started refused: int | None")


@scenario
async def a_bad_result_is_the_callees_error(tree: Tree) -> None:
    with pytest.raises(tractor.MsgTypeError) as caught:
        async with tree.portal.open_context(endpoints.contracted, bad="return") as (_, first):
            assert first == 1
            await trio.sleep_forever()
    assert caught.value.src_uid == tree.worker


@scenario
async def a_bad_stream_value_fails_at_the_receiver(tree: Tree) -> None:
    with pytest.raises(tractor.MsgTypeError) as caught:
        async with tree.portal.open_context(endpoints.contracted, bad="send") as (context, _):
            async with context.open_stream() as stream:
                await stream.send(1)
                await stream.receive()
    assert caught.value.src_uid is None or caught.value.src_uid == tree.uid
    key = tree.key()
    with pytest.raises(tractor.MsgTypeError) as caught:
        async with tree.portal.open_context(endpoints.contracted, key=key) as (context, _):
            async with context.open_stream() as stream:
                await stream.send("no number")
                await stream.receive()
    assert caught.value.src_uid == tree.worker
    assert caught.value.path == "$"
    assert (await tree.noted(key))[1] == "received against the contract: $"


# -- around ----------------------------------------------------------------------------------


@scenario
async def many_contexts_at_once(tree: Tree) -> None:
    results: list[int] = []

    async def one(index: int) -> None:
        async with tree.portal.open_context(endpoints.ends, how="return", value=index) as (context, first):
            assert first == index
            results.append(await context.wait_for_result())

    async with trio.open_nursery() as nursery:
        for index in range(200):
            nursery.start_soon(one, index)
    assert sorted(results) == list(range(1, 201))


@scenario
async def cancels_race_with_ends(tree: Tree) -> None:
    async def attempt(index: int) -> None:
        async with tree.portal.open_context(endpoints.ends, how="return", value=index) as (context, _):
            for _ in range(index % 7):
                await trio.lowlevel.checkpoint()
            await context.cancel()
        assert context.outcome == index + 1 or context.cancelled_caught

    async with trio.open_nursery() as nursery:
        for index in range(50):
            nursery.start_soon(attempt, index)


@scenario
async def positional_arguments(tree: Tree) -> None:
    async with tree.portal.open_context(endpoints.ends, "return", value=3) as (context, _):
        assert await context.wait_for_result() == 4


@scenario
async def entered_and_left_by_hand(tree: Tree) -> None:
    manager = tree.portal.open_context(endpoints.ends, how="return", value=3)
    context, first = await manager.__aenter__()
    assert first == 3
    assert "parent" in repr(context)
    await manager.__aexit__(None, None, None)
    assert context.outcome == 4
    async with context.open_stream() as stream:
        with pytest.raises(trio.BrokenResourceError):
            await stream.send(1)
        with pytest.raises(trio.EndOfChannel):
            await stream.receive()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_in_virtual_time(scenario: Scenario, autojump_clock: trio.testing.MockClock) -> None:
    await in_memory(scenario)


@pytest.mark.limit(60)
async def test_on_real_processes(every_registry: str) -> None:
    await on_processes(SCENARIOS, every_registry)
