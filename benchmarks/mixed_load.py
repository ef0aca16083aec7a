"""Calls, streams, spawns and cancels, each repeated as fast as it goes: the load of the soak."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial

import trio

import tractor_core as tractor

from . import endpoints
from .latencies import Latencies

CALLERS, STREAMERS, CANCELLERS, SPAWNERS = 16, 4, 4, 1
#: How long what is cancelled had been under way (seconds).
GRACE = 0.002
_VALUES = 100

Work = Callable[[], Awaitable[None]]


class MixedLoad:
    """Repeats every kind of work against two workers, and counts how long each took."""

    KINDS = ("call", "round trip", "stream", "cancel", "spawn")

    def __init__(
        self, nursery: tractor.ActorNursery, workers: list[tractor.Portal], start_method: str
    ) -> None:
        self._nursery = nursery
        self._workers = workers
        self._start_method = start_method
        self._latencies = {kind: Latencies() for kind in self.KINDS}
        self._late = 0

    def take(self) -> dict[str, Latencies]:
        """What was counted since this was last called."""
        taken, self._latencies = self._latencies, {kind: Latencies() for kind in self.KINDS}
        return taken

    async def run(self) -> None:
        """Until cancelled, or until something fails."""
        async with trio.open_nursery() as nursery:
            for worker in self._workers:
                for copies, work in (
                    (CALLERS, self.call),
                    (STREAMERS, self.round_trips),
                    (STREAMERS, self.stream),
                    (CANCELLERS, self.cancel_call),
                    (CANCELLERS, self.cancel_context),
                ):
                    for _ in range(copies):
                        nursery.start_soon(self._repeat, partial(work, worker))
            for _ in range(SPAWNERS):
                nursery.start_soon(self._repeat, self.spawn)

    async def _repeat(self, work: Work) -> None:
        while True:
            try:
                await work()
            except* tractor.ActorTooSlowError as errors:
                # On a machine so busy that an actor does not run for half a second.
                self._late += len(errors.exceptions)

    def take_late(self) -> int:
        """How many cancels were not acknowledged in time since this was last called."""
        late, self._late = self._late, 0
        return late

    def _count(self, kind: str, begin: float) -> None:
        self._latencies[kind].add(time.perf_counter() - begin)

    async def call(self, worker: tractor.Portal) -> None:
        begin = time.perf_counter()
        if await worker.run(endpoints.add, x=20, y=22) != 42:
            raise RuntimeError("a wrong answer")
        self._count("call", begin)

    async def round_trips(self, worker: tractor.Portal) -> None:
        async with worker.open_context(endpoints.echo) as (ctx, _):
            async with ctx.open_stream(overflow="block") as stream:
                for number in range(_VALUES):
                    begin = time.perf_counter()
                    await stream.send(number)
                    if await stream.receive() != number:
                        raise RuntimeError("a value out of order")
                    self._count("round trip", begin)

    async def stream(self, worker: tractor.Portal) -> None:
        """A hundred small values, every tenth of 64 KiB."""
        begin = time.perf_counter()
        async with worker.open_context(endpoints.sink) as (ctx, _):
            async with ctx.open_stream() as stream:
                for number in range(_VALUES):
                    await stream.send(bytes(16 if number % 10 else 65_536))
            if await ctx.wait_for_result() != _VALUES:
                raise RuntimeError("values were lost")
        self._count("stream", begin)

    async def cancel_call(self, worker: tractor.Portal) -> None:
        """The figure is how much later than asked it ended."""
        with trio.move_on_after(GRACE) as scope:
            await worker.run(endpoints.forever)
        if not scope.cancelled_caught:
            raise RuntimeError("what never ends has ended")
        self._latencies["cancel"].add(max(0.0, trio.current_time() - scope.deadline))

    async def cancel_context(self, worker: tractor.Portal) -> None:
        async with worker.open_context(endpoints.ticker, interval=0.0) as (ctx, _):
            async with ctx.open_stream(overflow="block") as stream:
                await stream.receive()
                begin = time.perf_counter()
                await ctx.cancel()
        self._count("cancel", begin)

    async def spawn(self) -> None:
        """Start an actor, call it, end it."""
        begin = time.perf_counter()
        portal = await self._nursery.start_actor(
            "spawned", enable_modules=[endpoints.__name__], start_method=self._start_method
        )
        await portal.run(endpoints.add, x=1, y=1)
        await portal.cancel_actor(timeout=10)
        await portal.chan.wait_closed()
        self._count("spawn", begin)
