"""Small values do not wait for other dialogs' large messages, and neither keeps the other from being sent."""

from __future__ import annotations

from collections.abc import Sequence

import trio
import trio.testing

import tractor_core as tractor
from tractor_core.ipc.sending import BATCH, SendingHalf
from tractor_core.msg.codec import wire_codec

LARGE = 40 * 1024 * 1024


async def count_bytes(data: bytes) -> int:
    return len(data)


@tractor.context
async def echo(ctx: tractor.Context) -> None:
    await ctx.started()
    async with ctx.open_stream() as stream:
        async for value in stream:
            await stream.send(value)


async def test_a_stream_goes_on_beside_large_calls(autojump_clock: trio.testing.MockClock) -> None:
    """Many round trips while the large messages are under way, not one for each time they let go."""
    async with tractor.open_nursery(registry_addrs=["mem://beside"], start_method="inproc") as nursery:
        portal = await nursery.start_actor("worker", enable_modules=[__name__])
        trips = 0
        async with portal.open_context(echo) as (context, _), context.open_stream() as stream:
            async with trio.open_nursery() as callers:
                callers.start_soon(portal.run, count_bytes, b"x" * LARGE)
                callers.start_soon(portal.run, count_bytes, b"y" * LARGE)
                await trio.lowlevel.checkpoint()
                while len(callers.child_tasks) == 2:
                    await stream.send(trips)
                    assert await stream.receive() == trips
                    trips += 1
        assert trips > 20
        await nursery.cancel()


async def test_large_calls_go_on_beside_full_streams(autojump_clock: trio.testing.MockClock) -> None:
    async with tractor.open_nursery(registry_addrs=["mem://full"], start_method="inproc") as nursery:
        portal = await nursery.start_actor("worker", enable_modules=[__name__])

        async def flood() -> None:
            async with portal.open_context(echo) as (context, _), context.open_stream() as stream:
                async with trio.open_nursery() as both:
                    both.start_soon(_discard, stream)
                    while True:
                        await stream.send(b"z" * 100_000)

        async with trio.open_nursery() as floods:
            for _ in range(8):
                floods.start_soon(flood)
            await trio.lowlevel.checkpoint()
            assert await portal.run(count_bytes, b"x" * 4_000_000) == 4_000_000
            floods.cancel_scope.cancel()
        await nursery.cancel()


async def _discard(stream: tractor.MsgStream[bytes, bytes]) -> None:
    async for _ in stream:
        pass


class _Greedy:
    """A connection that takes everything at once."""

    max_send_frame = None
    pending = False

    def send_nowait(self, frames: Sequence[bytes]) -> int:
        return len(frames)


async def test_who_waits_for_room_goes_on_when_another_write_took_it_all() -> None:
    """A frame that is written at once takes along what was queued: the flusher then finds nothing to do."""
    half = SendingHalf(_Greedy(), wire_codec().encode)  # type: ignore[arg-type]
    while half._queued <= BATCH:
        half.post_frame(b"x" * 100_000, 0, lazy=True)
    async with trio.open_nursery() as flushing:
        with trio.fail_after(5):
            async with trio.open_nursery() as waiters:
                waiters.start_soon(half.room, 2)
                await trio.testing.wait_all_tasks_blocked()
                half.post_frame(b"now", 4)
                assert not half._queue
                flushing.start_soon(half._flush_forever)
        flushing.cancel_scope.cancel()
