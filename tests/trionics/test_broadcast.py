"""Broadcasting: nothing lost by the fastest, one Lagged per gap, and no hand-over ever missed."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest
import trio
import trio.testing
from trio.testing import MockClock, wait_all_tasks_blocked

from tractor_core.trionics import BroadcastReceiver, Lagged, broadcast_receiver


class Source:
    """A source that fails the test when two tasks are in it at once, and counts its calls."""

    def __init__(self, channel: trio.MemoryReceiveChannel[int]) -> None:
        self.channel = channel
        self.inside = 0
        self.calls = 0

    async def receive(self) -> int:
        assert not self.inside, "two tasks in the source"
        self.inside += 1
        self.calls += 1
        try:
            return await self.channel.receive()
        finally:
            self.inside -= 1


def make(size: int = 8) -> tuple[trio.MemorySendChannel[int], Source, BroadcastReceiver[int]]:
    send, receive = trio.open_memory_channel[int](100)
    source = Source(receive)
    return send, source, broadcast_receiver(source, size)


async def test_every_consumer_sees_every_value_in_order() -> None:
    send, source, first = make()
    seen: list[list[int]] = [[], [], []]

    async def consume(receiver: BroadcastReceiver[int], into: list[int]) -> None:
        async for value in receiver:
            into.append(value)

    async with first.subscribe() as second, first.subscribe() as third, trio.open_nursery() as nursery:
        for receiver, into in zip((first, second, third), seen, strict=True):
            nursery.start_soon(consume, receiver, into)
        for value in range(50):
            await send.send(value)
            await wait_all_tasks_blocked()
        await send.aclose()
    assert seen == [list(range(50))] * 3
    assert source.calls == 51


async def test_the_fastest_loses_nothing_while_another_never_reads(autojump_clock: MockClock) -> None:
    send, _, fast = make(2)
    async with fast.subscribe() as idle:
        for value in range(20):
            await send.send(value)
            assert await fast.receive() == value
        with pytest.raises(Lagged) as caught:
            await idle.receive()
        assert caught.value.missed == 18
        assert isinstance(caught.value, trio.TooSlowError)
        assert [await idle.receive(), await idle.receive()] == [18, 19]


async def test_lagged_is_raised_once_per_gap() -> None:
    send, _, fast = make(3)
    async with fast.subscribe() as slow:
        for start in (0, 100):
            for value in range(start, start + 10):
                await send.send(value)
                await fast.receive()
            with pytest.raises(Lagged, match="missed 7"):
                slow.receive_nowait()
            assert [await slow.receive() for _ in range(3)] == [start + 7, start + 8, start + 9]
            with pytest.raises(trio.WouldBlock):
                slow.receive_nowait()


async def test_gaps_can_be_logged_instead(caplog: pytest.LogCaptureFixture) -> None:
    send, _, fast = make(2)
    async with fast.subscribe(raise_on_lag=False) as slow:
        assert fast.raise_on_lag
        for value in range(5):
            await send.send(value)
            await fast.receive()
        assert await slow.receive() == 3
        assert "missed 3" in caplog.text


async def test_a_buffer_exactly_full_is_no_lag() -> None:
    send, _, fast = make(4)
    async with fast.subscribe() as slow:
        for value in range(4):
            await send.send(value)
            await fast.receive()
        assert [await slow.receive() for _ in range(4)] == [0, 1, 2, 3]


async def test_subscribers_start_with_what_comes_next() -> None:
    send, _, first = make()
    await send.send(1)
    await first.receive()
    async with first.subscribe() as late:
        await send.send(2)
        assert await late.receive() == 2
        assert await first.receive() == 2


@pytest.mark.parametrize("cancelled", [0, 1, 2])
async def test_cancelling_the_one_inside_hands_over(cancelled: int) -> None:
    send, source, first = make()
    got: dict[int, int] = {}
    scopes = [trio.CancelScope() for _ in range(3)]

    async def consume(number: int, receiver: BroadcastReceiver[int]) -> None:
        with scopes[number]:
            got[number] = await receiver.receive()

    async with first.subscribe() as second, first.subscribe() as third, trio.open_nursery() as nursery:
        for number, receiver in enumerate((first, second, third)):
            nursery.start_soon(consume, number, receiver)
            await wait_all_tasks_blocked()
        scopes[cancelled].cancel()
        await wait_all_tasks_blocked()
        assert source.inside == 1
        await send.send(7)
        await wait_all_tasks_blocked()
        assert got == {number: 7 for number in range(3) if number != cancelled}
        assert await (first, second, third)[cancelled].receive() == 7


async def test_the_one_to_take_over_may_be_cancelled_in_the_same_moment() -> None:
    send, source, first = make()
    got: list[int] = []
    scopes = [trio.CancelScope(), trio.CancelScope(), trio.CancelScope()]

    async def consume(scope: trio.CancelScope, receiver: BroadcastReceiver[int]) -> None:
        with scope:
            got.append(await receiver.receive())

    async with first.subscribe() as second, first.subscribe() as third, trio.open_nursery() as nursery:
        for scope, receiver in zip(scopes, (first, second, third), strict=True):
            nursery.start_soon(consume, scope, receiver)
            await wait_all_tasks_blocked()
        scopes[0].cancel()
        scopes[1].cancel()
        await wait_all_tasks_blocked()
        assert source.inside == 1
        await send.send(7)
        await wait_all_tasks_blocked()
        assert got == [7]


async def test_value_and_cancellation_in_the_same_moment_lose_nothing() -> None:
    for value_first in (True, False):
        send, _, first = make()
        got: list[int] = []
        scope = trio.CancelScope()

        async def consume(receiver: BroadcastReceiver[int], scope: trio.CancelScope, got: list[int]) -> None:
            with scope:
                got.append(await receiver.receive())

        async with first.subscribe() as second, trio.open_nursery() as nursery:
            nursery.start_soon(consume, first, scope, got)
            await wait_all_tasks_blocked()
            nursery.start_soon(consume, second, trio.CancelScope(), got)
            await wait_all_tasks_blocked()
            if value_first:
                send.send_nowait(7)
                scope.cancel()
            else:
                scope.cancel()
                send.send_nowait(7)
        if len(got) == 1:
            got.append(first.receive_nowait())
        assert got == [7, 7]


async def test_cancelled_before_it_starts_takes_nothing() -> None:
    send, _, first = make()
    async with first.subscribe() as second:
        await send.send(1)
        await first.receive()
        with trio.CancelScope() as scope:
            scope.cancel()
            await second.receive()
        assert scope.cancelled_caught
        assert await second.receive() == 1


async def test_receive_is_always_a_checkpoint() -> None:
    send, _, first = make(2)
    async with first.subscribe() as second:
        for value in range(4):
            await send.send(value)
            with trio.testing.assert_checkpoints():
                await first.receive()
        with trio.testing.assert_checkpoints(), pytest.raises(Lagged):
            await second.receive()
        with trio.testing.assert_checkpoints():
            await second.receive()


class Broken(Exception):
    pass


@pytest.mark.parametrize("error", [trio.EndOfChannel, Broken, trio.BrokenResourceError])
async def test_the_end_reaches_everybody_after_what_is_buffered(error: type[Exception]) -> None:
    values = iter([1, 2])

    class Ending:
        async def receive(self) -> int:
            await trio.lowlevel.checkpoint()
            for value in values:
                return value
            raise error("over")

    first = broadcast_receiver(Ending(), 5)
    async with first.subscribe() as second, first.subscribe() as waiting:
        assert [await first.receive(), await first.receive()] == [1, 2]
        assert [await waiting.receive(), await waiting.receive()] == [1, 2]
        ended = 0

        async def expect_end(receiver: BroadcastReceiver[int]) -> None:
            nonlocal ended
            with pytest.raises(error, match="over"):
                await receiver.receive()
            ended += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_end, first)
            nursery.start_soon(expect_end, waiting)
        assert ended == 2
        assert [await second.receive(), second.receive_nowait()] == [1, 2]
        for _ in range(3):
            with pytest.raises(error, match="over") as caught:
                await second.receive()
        depth, traceback = 0, caught.value.__traceback__
        while traceback is not None:
            depth, traceback = depth + 1, traceback.tb_next
        assert depth < 8
        async with second.subscribe() as late:
            with pytest.raises(error):
                late.receive_nowait()


async def test_iteration_ends_with_the_channel() -> None:
    send, _, first = make()
    await send.send(1)
    await send.aclose()
    assert [value async for value in first] == [1]


async def test_closing_one_consumer_leaves_the_others() -> None:
    send, source, first = make()
    ended: list[BroadcastReceiver[int]] = []

    async def expect_closed(receiver: BroadcastReceiver[int]) -> None:
        with pytest.raises(trio.ClosedResourceError):
            await receiver.receive()
        ended.append(receiver)

    got: list[int] = []

    async def consume(receiver: BroadcastReceiver[int]) -> None:
        got.append(await receiver.receive())

    async with first.subscribe() as second, first.subscribe() as third, trio.open_nursery() as nursery:
        nursery.start_soon(expect_closed, first)
        await wait_all_tasks_blocked()
        nursery.start_soon(expect_closed, second)
        nursery.start_soon(consume, third)
        await wait_all_tasks_blocked()
        await first.aclose()
        await second.aclose()
        await first.aclose()
        await wait_all_tasks_blocked()
        assert set(ended) == {first, second}
        assert source.inside == 1
        await send.send(3)
        await wait_all_tasks_blocked()
        assert got == [3]
        with pytest.raises(trio.ClosedResourceError):
            first.receive_nowait()
        with pytest.raises(trio.ClosedResourceError):
            async with first.subscribe():
                pass


async def test_leaving_subscribe_closes() -> None:
    _, _, first = make()
    async with first.subscribe() as second:
        pass
    with pytest.raises(trio.ClosedResourceError):
        await second.receive()


async def test_receive_nowait_reads_a_source_that_can() -> None:
    send, receive = trio.open_memory_channel[int](10)
    first = broadcast_receiver(receive, 4)
    async with first.subscribe() as second:
        with pytest.raises(trio.WouldBlock):
            first.receive_nowait()
        send.send_nowait(5)
        assert first.receive_nowait() == 5
        assert await second.receive() == 5
        got: list[int] = []

        async def consume() -> None:
            got.append(await second.receive())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(consume)
            await wait_all_tasks_blocked()
            with pytest.raises(trio.WouldBlock):
                first.receive_nowait()
            send.send_nowait(6)
        assert (got, first.receive_nowait()) == ([6], 6)
        send.close()
        for receiver in (first, second):
            with pytest.raises(trio.EndOfChannel):
                receiver.receive_nowait()


async def test_two_tasks_on_one_consumer_share_its_values() -> None:
    send, _, first = make()
    got: list[int] = []

    async def consume() -> None:
        got.append(await first.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(consume)
        nursery.start_soon(consume)
        await wait_all_tasks_blocked()
        await send.send(1)
        await send.send(2)
    assert sorted(got) == [1, 2]


async def test_a_busy_source_is_not_its_end() -> None:
    answers: list[Exception | int] = [trio.BusyResourceError("another task"), 4]

    async def receive() -> int:
        await trio.lowlevel.checkpoint()
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    _, unused = trio.open_memory_channel[int](0)
    first = broadcast_receiver(unused, 2, receive_afunc=receive)
    with pytest.raises(trio.BusyResourceError):
        await first.receive()
    assert await first.receive() == 4


async def test_broadcast_of_a_broadcast() -> None:
    send, _, first = make()
    async with first.subscribe() as upstream:
        outer = broadcast_receiver(upstream, 4)
        await send.send(1)
        assert await outer.receive() == 1
        assert await first.receive() == 1


def test_bad_buffer_sizes() -> None:
    _, receive = trio.open_memory_channel[int](0)
    with pytest.raises(ValueError, match="at least 1"):
        broadcast_receiver(receive, 0)
    for size in (1.5, True, "3"):
        with pytest.raises(TypeError):
            broadcast_receiver(receive, size)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(12))
async def test_random_speeds_and_cancellations(seed: int, autojump_clock: MockClock) -> None:
    """Each consumer, cancelled at random, gets every value but those it was told it missed."""
    rng = random.Random(seed)
    send, source, first = make(rng.choice([1, 2, 5, 50]))
    total = 60

    async def produce() -> None:
        async with send:
            for value in range(total):
                await trio.sleep(rng.choice([0, 0, 0.1, 1]))
                await send.send(value)

    async def consume(receiver: BroadcastReceiver[int], pause: Callable[[], Awaitable[None]]) -> None:
        expected = 0
        while True:
            try:
                with trio.move_on_after(rng.choice([0, 0.05, 0.5, 5])):
                    value = await receiver.receive()
                    assert value == expected
                    expected += 1
            except Lagged as exc:
                expected += exc.missed
            except trio.EndOfChannel:
                break
            await pause()
        assert expected == total

    async def nap() -> None:
        await trio.sleep(rng.choice([0, 0.1, 2]))

    async with first.subscribe() as second, first.subscribe() as third, trio.open_nursery() as nursery:
        nursery.start_soon(produce)
        nursery.start_soon(consume, first, trio.lowlevel.checkpoint)
        nursery.start_soon(consume, second, nap)
        nursery.start_soon(consume, third, nap)
    assert source.inside == 0


async def test_after_each_gap_comes_a_value_however_fast_the_others_are(autojump_clock: MockClock) -> None:
    send, _, fast = make(8)
    seen: list[int | str] = []

    async def produce() -> None:
        for number in range(2000):
            await send.send(number)
        send.close()

    async def consume() -> None:
        async for _ in fast:
            pass

    async with trio.open_nursery() as nursery, fast.subscribe() as slow:
        nursery.start_soon(produce)
        nursery.start_soon(consume)
        while True:
            try:
                seen.append(await slow.receive())
            except Lagged:
                seen.append("gap")
            except trio.EndOfChannel:
                break
            else:
                for _ in range(100):
                    await trio.lowlevel.checkpoint()
    assert seen.count("gap") > 3
    assert all(after != "gap" for before, after in pairwise(seen) if before == "gap")
