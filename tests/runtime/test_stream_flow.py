"""How a stream of small values flows: how far ahead its sender gets, and to whom it gives way."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

import tractor_core as tractor
from tractor_core.ipc.limits import Limits
from tractor_core.runtime.context import WINDOWS_WHERE_WAITING
from tractor_core.runtime.stream import TIME_SLICE

WINDOW = Limits().window_messages

pytestmark = pytest.mark.usefixtures("autojump_clock")


@tractor.context
async def listen(ctx: tractor.Context, overflow: tractor.Overflow, window: int | None = None) -> None:
    """Open a stream and take nothing."""
    await ctx.started()
    async with ctx.open_stream(overflow=overflow, msg_buffer_size=window):
        await trio.sleep_forever()


@tractor.context
async def count_up(ctx: tractor.Context, upto: int) -> None:
    await ctx.started()
    async with ctx.open_stream(overflow="block") as stream:
        for number in range(upto):
            await stream.send(number)


#: Lets the callee of :func:`take_when_told` take values: one for each.
TAKE: list[trio.Semaphore] = []


@tractor.context
async def take_when_told(ctx: tractor.Context, window: int) -> None:
    """Open a stream whose sender may not get further ahead than ``window``, and take on demand."""
    TAKE[:] = [trio.Semaphore(0)]
    await ctx.started()
    async with ctx.open_stream(msg_buffer_size=window) as stream:
        while True:
            await TAKE[0].acquire()
            await stream.receive()


async def take() -> None:
    TAKE[0].release()


async def take_one(portal: tractor.Portal) -> None:
    """Have one value taken, and the credit for it arrive."""
    await portal.run(take)
    await trio.testing.wait_all_tasks_blocked()


@asynccontextmanager
async def open_actor(**keywords: object) -> AsyncIterator[tractor.Portal]:
    async with tractor.open_nursery(
        registry_addrs=["mem://flow"], start_method="inproc", **keywords
    ) as nursery:  # type: ignore[arg-type]
        portal = await nursery.start_actor("other", enable_modules=[__name__])
        yield portal
        await nursery.cancel()


async def sent_at_most(portal: tractor.Portal, overflow: str, window: int | None = None) -> int:
    """How many values can be sent to one that takes none, after it has said what it takes."""
    sent = 0
    async with portal.open_context(listen, overflow, window) as (ctx, _), ctx.open_stream() as stream:
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(1):
            try:
                while True:
                    await stream.send(sent)
                    sent += 1
            except tractor.StreamOverrun:
                assert overflow == "raise"
        await ctx.cancel()
    return sent


async def test_who_waits_gets_further_ahead_than_who_overruns() -> None:
    async with open_actor() as portal:
        with pytest.raises(tractor.StreamOverrun):
            await sent_at_most(portal, "raise")
        assert await sent_at_most(portal, "block") == WINDOWS_WHERE_WAITING * WINDOW
        assert await sent_at_most(portal, "block", 7) == 7


async def test_the_limit_counts_under_every_policy() -> None:
    async with open_actor(limits=Limits(window_messages=3)) as portal:
        assert await sent_at_most(portal, "block") == WINDOWS_WHERE_WAITING * 3


@asynccontextmanager
async def open_full(upto: int) -> AsyncIterator[tractor.MsgStream[int, int]]:
    """A stream of which so many values have arrived."""
    async with open_actor() as portal, portal.open_context(count_up, upto=upto) as (ctx, _):
        async with ctx.open_stream(overflow="block") as stream:
            await trio.testing.wait_all_tasks_blocked()
            yield stream


async def test_a_cancelled_task_takes_no_value_that_waits() -> None:
    async with open_full(3) as stream:
        for take in (stream.receive, stream.__anext__):
            with trio.CancelScope() as scope:
                scope.cancel()
                await take()
            assert scope.cancelled_caught
        assert [number async for number in stream] == [0, 1, 2]


async def test_a_closed_stream_has_no_values_left() -> None:
    async with open_full(3) as stream:
        await stream.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await stream.__anext__()


async def test_values_that_wait_do_not_keep_others_waiting() -> None:
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with open_full(20) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(take_turns)
        async for _ in stream:
            end = time.perf_counter() + TIME_SLICE
            while time.perf_counter() < end:
                pass
        assert turns >= 15
        nursery.cancel_scope.cancel()


async def test_who_waited_for_room_waits_for_credit_anew() -> None:
    """What was granted while a sender waited for room, another sender of the same stream has used."""
    sent: list[str] = []
    async with open_actor() as portal:
        async with portal.open_context(take_when_told, 1) as (ctx, _), ctx.open_stream() as stream:
            await trio.testing.wait_all_tasks_blocked()
            await stream.send("fills the window")

            async def send(value: str) -> None:
                await stream.send(value)
                sent.append(value)

            with pytest.MonkeyPatch.context() as patch:
                room = trio.Event()

                async def wait_for_room(cid: int, size: int = 0) -> None:
                    await room.wait()

                async with trio.open_nursery() as senders:
                    senders.start_soon(send, "late")
                    await trio.testing.wait_all_tasks_blocked()
                    # Its grace ends where there is no room either.
                    patch.setattr(ctx.chan, "clogged", lambda cid, size=0: True)
                    patch.setattr(ctx.chan, "room", wait_for_room)
                    await trio.sleep(Limits().overrun_grace + 1)
                    patch.undo()
                    await take_one(portal)
                    await send("quick")
                    room.set()
                    await trio.testing.wait_all_tasks_blocked()
                    assert sent == ["quick"]
                    await take_one(portal)
            assert sent == ["quick", "late"]
            await ctx.cancel()
