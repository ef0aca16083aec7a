"""What a stream does: order, ends, flow control, sharing, generators."""

from __future__ import annotations

import pytest
import semantics_endpoints as endpoints
import trio
import trio.lowlevel
from semantics_tree import Scenario, Tree, in_memory, on_processes

import tractor_core as tractor
from tractor_core.errors import RemoteActorError
from tractor_core.trionics import Lagged

MIB = 2**20

SCENARIOS: list[Scenario] = []


def scenario(function: Scenario) -> Scenario:
    SCENARIOS.append(function)
    return function


# -- ends ------------------------------------------------------------------------------------


@scenario
async def values_both_ways(tree: Tree) -> None:
    async with tree.portal.open_context(endpoints.echoes) as (context, _):
        async with context.open_stream() as stream:
            assert isinstance(stream, trio.abc.Channel)
            assert stream.ctx is context and stream.chan is tree.portal.chan and not stream.closed
            for value in (1, "two", None, [3, {"four": 5.0}], b"six"):
                await stream.send(value)
                assert await stream.receive() == value
        assert stream.closed
        assert await context.wait_for_result() == "echoed"


@scenario
async def everything_sent_before_the_return_arrives(tree: Tree) -> None:
    async with tree.portal.open_context(endpoints.ends, how="return while streaming", value=50) as (
        context,
        _,
    ):
        async with context.open_stream() as stream:
            assert [value async for value in stream] == list(range(50))
            with pytest.raises(trio.EndOfChannel):
                await stream.receive()
            with pytest.raises(trio.EndOfChannel):
                stream.receive_nowait()
            assert await context.wait_for_result() == 50
            with pytest.raises(trio.BrokenResourceError):
                await stream.send(1)


@scenario
async def the_callee_leaves_first(tree: Tree) -> None:
    async with tree.portal.open_context(endpoints.ends, how="leave stream", value=3) as (context, _):
        async with context.open_stream() as stream:
            assert await stream.receive() == 3
            with pytest.raises(trio.EndOfChannel):
                await stream.receive()
            # The context goes on without it.
            assert not context.has_outcome
        await context.cancel()


@scenario
async def the_opener_leaves_first(tree: Tree) -> None:
    """What still comes is discarded, and the sender does not run dry."""
    key = tree.key()
    async with tree.portal.open_context(endpoints.counts, count=1000, key=key) as (context, _):
        async with context.open_stream(overflow="block") as stream:
            assert await stream.receive() == 0
    assert context.outcome == 1000
    assert await tree.noted(key) == ["sent 1000"]


@scenario
async def the_opener_never_opens_its_half(tree: Tree) -> None:
    async with tree.portal.open_context(endpoints.counts, count=300) as (context, _):
        assert await context.wait_for_result() == 300


@scenario
async def who_listens_to_an_opener_without_a_stream_hears_its_leaving(tree: Tree) -> None:
    async with tree.portal.open_context(endpoints.echoes) as (context, _):
        pass
    assert context.outcome == "echoed"


@scenario
async def closing_by_hand(tree: Tree) -> None:
    async with tree.portal.open_context(endpoints.echoes) as (context, _):
        async with context.open_stream() as stream:
            await stream.send(1)
            await stream.aclose()
            await stream.aclose()
            for attempt in (stream.receive, lambda: stream.send(1)):
                with pytest.raises(trio.ClosedResourceError):
                    await attempt()
            with pytest.raises(trio.ClosedResourceError):
                stream.receive_nowait()
        with pytest.raises(RuntimeError, match="one-shot"):
            async with context.open_stream():
                pass
        assert await context.wait_for_result() == "echoed"


@scenario
async def closing_under_a_receiver(tree: Tree) -> None:
    async def receive(stream: tractor.MsgStream[int, int]) -> None:
        with pytest.raises(trio.ClosedResourceError):
            await stream.receive()

    async with tree.portal.open_context(endpoints.echoes) as (context, _):
        async with context.open_stream() as stream, trio.open_nursery() as nursery:
            nursery.start_soon(receive, stream)
            await trio.testing.wait_all_tasks_blocked()
            await stream.aclose()


@scenario
async def misuse_at_the_callee(tree: Tree) -> None:
    async with tree.portal.open_context(endpoints.misuses_stream) as (context, _):
        closed, again, reopened = await context.wait_for_result()
    assert closed == again == "ClosedResourceError"
    assert "one-shot" in reopened


@scenario
async def settings_that_make_no_sense(tree: Tree) -> None:
    async with tree.portal.open_context(endpoints.echoes) as (context, _):
        for wrong in ({"overflow": "explode"}, {"msg_buffer_size": 0}, {"msg_buffer_size": -5}):
            with pytest.raises(ValueError):
                async with context.open_stream(**wrong):
                    pass
        async with context.open_stream(msg_buffer_size=1) as stream:
            await stream.send(1)
            assert await stream.receive() == 1


@scenario
async def a_value_that_cannot_be_encoded(tree: Tree) -> None:
    async with tree.portal.open_context(endpoints.echoes) as (context, _):
        async with context.open_stream() as stream:
            with pytest.raises(TypeError, match=r"value\['deep'\]\[0\]"):
                await stream.send({"deep": [print]})
            await stream.send("still good")
            assert await stream.receive() == "still good"


@scenario
async def one_receiver_at_a_time(tree: Tree) -> None:
    async def first(stream: tractor.MsgStream[int, int]) -> None:
        assert await stream.receive() == 1

    async with tree.portal.open_context(endpoints.echoes) as (context, _):
        async with context.open_stream() as stream, trio.open_nursery() as nursery:
            nursery.start_soon(first, stream)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await stream.receive()
            await stream.send(1)


@scenario
async def cancelling_loses_and_repeats_nothing(tree: Tree) -> None:
    async with tree.portal.open_context(endpoints.echoes) as (context, _):
        async with context.open_stream() as stream:
            received = []
            for value in range(50):
                with trio.CancelScope() as scope:
                    scope.cancel()
                    await stream.send("never sent")
                assert scope.cancelled_caught
                await stream.send(value)
                while len(received) <= value:
                    with trio.move_on_after(0.0005):
                        received.append(await stream.receive())
            assert received == list(range(50))


# -- flow control ----------------------------------------------------------------------------


@scenario
async def a_sender_overruns_the_opener(tree: Tree) -> None:
    key = tree.key()
    with pytest.raises(tractor.StreamOverrun) as caught:
        async with tree.portal.open_context(endpoints.counts, count=1000, key=key) as (context, _):
            async with context.open_stream():
                await trio.sleep_forever()
    assert caught.value.sender == tree.worker
    assert isinstance(caught.value, trio.TooSlowError)
    assert await tree.noted(key) == ["overrun after 64", "sent 64"]


@scenario
async def the_opener_overruns_the_callee(tree: Tree) -> None:
    key = tree.key()
    sent = 0
    with pytest.raises(tractor.StreamOverrun) as caught:
        async with tree.portal.open_context(endpoints.collects, "raise", pause_after=3, key=key) as (
            context,
            _,
        ):
            async with context.open_stream() as stream:
                for value in range(1000):
                    await stream.send(value)
                    sent += 1
    assert sent < 200
    assert caught.value.src_uid == tree.uid
    assert "interrupted" in await tree.noted(key)


@scenario
async def blocking_keeps_order_and_bounds(tree: Tree) -> None:
    """Ten thousand values to a consumer that pauses; never more than a window is under way."""
    key = tree.key()
    sent = 0

    async def send_all(stream: tractor.MsgStream[int, int]) -> None:
        nonlocal sent
        for value in range(10_000):
            await stream.send(value)
            sent += 1
        await stream.aclose()

    async with tree.portal.open_context(endpoints.collects, "block", 10, key=key, window=32) as (context, _):
        async with context.open_stream() as stream, trio.open_nursery() as nursery:
            nursery.start_soon(send_all, stream)
            while sent < 10:
                await trio.sleep(0.01)
            await trio.sleep(0.5)
            assert 10 <= sent <= 10 + 64
            await tree.portal.run(endpoints.go_on, key)
        assert await context.wait_for_result() == [10_000, sum(range(10_000)), 1]


@scenario
async def blocking_the_callee(tree: Tree) -> None:
    async with tree.portal.open_context(endpoints.counts, count=10_000) as (context, _):
        async with context.open_stream(overflow="block", msg_buffer_size=8) as stream:
            await trio.sleep(0.5)
            assert [value async for value in stream] == list(range(10_000))
    assert context.outcome == 10_000


@scenario
async def buffering_loses_nothing(tree: Tree) -> None:
    key = tree.key()
    async with tree.portal.open_context(endpoints.collects, "buffer", 0, key=key) as (context, _):
        async with context.open_stream() as stream:
            for value in range(10_000):
                await stream.send(value)
        await tree.portal.run(endpoints.go_on, key)
        assert await context.wait_for_result() == [10_000, sum(range(10_000)), 1]


@scenario
async def buffering_at_the_opener(tree: Tree) -> None:
    key = tree.key()
    for where in ("context", "stream"):
        allow = where == "context"
        async with tree.portal.open_context(endpoints.counts, allow_overruns=allow, count=2000, key=key) as (
            context,
            _,
        ):
            async with context.open_stream(allow_overruns=None if allow else True) as stream:
                assert await context.wait_for_result() == 2000
                assert [value async for value in stream] == list(range(2000))


@scenario
async def a_receiver_that_keeps_up_is_never_overrun(tree: Tree) -> None:
    async with tree.portal.open_context(endpoints.counts, count=20_000) as (context, _):
        async with context.open_stream() as stream:
            assert sum([1 async for _ in stream]) == 20_000


@scenario
async def values_larger_than_the_window(tree: Tree) -> None:
    sizes = [1, 20 * MIB, 1, 5 * MIB, 5 * MIB, 9 * MIB, 0]
    async with tree.portal.open_context(endpoints.takes_sizes) as (context, _):
        async with context.open_stream() as stream:
            for size in sizes:
                await stream.send(bytes(size))
        assert await context.wait_for_result() == sizes
    async with tree.portal.open_context(endpoints.sends_sizes, sizes) as (context, _):
        async with context.open_stream(overflow="block") as stream:
            assert [len(value) async for value in stream] == sizes


@scenario
async def large_values_do_not_hold_up_others(tree: Tree) -> None:
    """Calls overtake them; the values themselves keep their order."""
    sizes = [MIB, 10, 20 * MIB, 10, 3 * MIB, 1] * 2
    calls = 0
    done = False

    async def call() -> None:
        nonlocal calls
        while not done:
            assert await tree.portal.run(endpoints.add, 1, 1) == 2
            calls += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        async with tree.portal.open_context(endpoints.takes_sizes) as (context, _):
            async with context.open_stream() as stream:
                for size in sizes:
                    await stream.send(bytes(size))
            assert await context.wait_for_result() == sizes
        done = True
    assert calls > 10


@scenario
async def a_flood_starves_nobody(tree: Tree) -> None:
    """Neither at the sender nor at the receiver, nor those who wait for something else entirely."""
    ticks = calls = 0
    done = False

    async def tick() -> None:
        nonlocal ticks
        while not done:
            await trio.lowlevel.checkpoint()
            ticks += 1

    async def call() -> None:
        nonlocal calls
        while not done:
            await tree.portal.run(endpoints.add, 1, 1)
            calls += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tick)
        nursery.start_soon(call)
        async with tree.portal.open_context(endpoints.echoes, overflow="block") as (context, _):
            async with context.open_stream(overflow="buffer") as stream:
                for value in range(10_000):
                    await stream.send(value)
                for value in range(10_000):
                    assert await stream.receive() == value
        done = True
    assert ticks > 20
    assert calls > 5


# -- sharing ---------------------------------------------------------------------------------


@scenario
async def subscribers_get_every_value(tree: Tree) -> None:
    received: dict[int, list[int]] = {}

    async def consume(index: int, stream: tractor.MsgStream[int, int], ready: trio.Event) -> None:
        async with stream.subscribe() as receiver:
            ready.set()
            received[index] = [value async for value in receiver]

    async with tree.portal.open_context(endpoints.collects_and_sends, 40) as (context, _):
        async with context.open_stream() as stream, trio.open_nursery() as nursery:
            for index in range(3):
                ready = trio.Event()
                nursery.start_soon(consume, index, stream, ready)
                await ready.wait()
            await stream.send("go")
    assert received == {index: list(range(40)) for index in range(3)}


@scenario
async def a_slow_subscriber_is_told_once(tree: Tree) -> None:
    async with tree.portal.open_context(endpoints.collects_and_sends, 200) as (context, _):
        async with context.open_stream() as stream, stream.subscribe() as slow:
            await stream.send("go")
            fast = [value async for value in stream]
            assert fast == list(range(200))
            with pytest.raises(Lagged) as caught:
                await slow.receive()
            assert caught.value.missed > 0
            rest = [value async for value in slow]
            assert rest == list(range(caught.value.missed, 200))


@scenario
async def subscribers_share_an_error(tree: Tree) -> None:
    failures: list[BaseException] = []

    async def consume(stream: tractor.MsgStream[int, int]) -> None:
        async with stream.subscribe() as receiver:
            try:
                await receiver.receive()
            except RemoteActorError as error:
                failures.append(error)
                raise

    with pytest.raises(RemoteActorError, match="in stream"):
        async with tree.portal.open_context(endpoints.ends, how="fail in stream") as (context, _):
            async with context.open_stream() as stream, trio.open_nursery() as nursery:
                nursery.start_soon(consume, stream)
                await trio.testing.wait_all_tasks_blocked()
                await stream.send(1)
    assert [type(error) for error in failures] == [RemoteActorError]


# -- generators ------------------------------------------------------------------------------


@scenario
async def a_generator_to_its_end(tree: Tree) -> None:
    key = tree.key()
    async with tree.portal.open_stream_from(endpoints.numbers, count=500, key=key) as stream:
        assert [number async for number in stream] == list(range(500))
    assert await tree.noted(key) == ["exhausted", "closed"]
    async with tree.portal.open_stream_from(endpoints.numbers, 3) as stream:
        with pytest.raises(trio.ClosedResourceError):
            await stream.send(1)
        assert await stream.receive() == 0


@scenario
async def leaving_early_closes_the_generator(tree: Tree) -> None:
    key = tree.key()
    async with tree.portal.open_stream_from(endpoints.numbers, count=10**9, key=key) as stream:
        async for number in stream:
            if number == 100:
                break
    assert await tree.noted(key) == ["closed"]
    with pytest.raises(KeyError):
        async with tree.portal.open_stream_from(endpoints.numbers, count=10**9, key=key) as stream:
            assert await stream.receive() == 0
            raise KeyError("mine")
    assert await tree.noted(key) == ["closed"] * 2
    with trio.move_on_after(60) as scope:
        async with tree.portal.open_stream_from(endpoints.numbers, count=10**9, key=key) as stream:
            await stream.receive()
            scope.deadline = trio.current_time()
            await trio.sleep_forever()
    assert await tree.noted(key) == ["closed"] * 3


@scenario
async def a_generator_that_fails(tree: Tree) -> None:
    key = tree.key()
    received = []
    with pytest.raises(RemoteActorError, match="at 3") as caught:
        async with tree.portal.open_stream_from(endpoints.numbers, count=9, key=key, fail_at=3) as stream:
            async for number in stream:
                received.append(number)
    assert received == [0, 1, 2]
    assert caught.value.boxed_type is endpoints.OwnError
    assert await tree.noted(key) == ["closed"]


@scenario
async def the_items_of_a_generator_have_its_type(tree: Tree) -> None:
    async with tree.portal.open_stream_from(endpoints.rows, count=2) as stream:
        items = [row async for row in stream]
    assert [type(row) for row in items] == [endpoints.Row] * 2
    assert items[1].id.int == 1 and items[1].tags == {"a"} and items[1].size == (1, 1)


@scenario
async def a_generator_serves_a_context(tree: Tree) -> None:
    async with tree.portal.open_stream_from(endpoints.knows_context) as stream:
        assert await stream.receive() == "child"


@scenario
async def wrong_arguments_never_reach_the_generator(tree: Tree) -> None:
    key = tree.key()
    for wrong in ({"count": "many", "key": key}, {"key": key}, {"count": 1, "key": key, "more": 1}):
        with pytest.raises(tractor.MsgTypeError):
            async with tree.portal.open_stream_from(endpoints.numbers, **wrong):
                raise AssertionError("it must not start")
    assert await tree.noted(key) == []


@scenario
async def functions_marked_as_streams_still_work(tree: Tree) -> None:
    async with tree.portal.open_stream_from(endpoints.marked, upto=3) as stream:
        assert [number async for number in stream] == [0, 1, 2]
    async with tree.portal.open_stream_from(endpoints.marked_with_context, upto=3) as stream:
        assert [number async for number in stream] == [0, 1, 2]
    async with tree.portal.open_stream_from(endpoints.marked_generator, upto=3) as stream:
        assert [number async for number in stream] == [0, 1, 2]
    with pytest.raises(tractor.MsgTypeError):
        async with tree.portal.open_stream_from(endpoints.marked, upto="three"):
            raise AssertionError("it must not start")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_in_virtual_time(scenario: Scenario, autojump_clock: trio.testing.MockClock) -> None:
    await in_memory(scenario)


@pytest.mark.limit(60)
async def test_on_real_processes(every_registry: str) -> None:
    await on_processes(SCENARIOS, every_registry)
