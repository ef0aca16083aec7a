"""The same work, done by an actor."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import median

import trio

import tractor_core as tractor

from . import endpoints

MIB = 1024 * 1024


class Actors:
    """A nursery with one actor to call. Every method returns seconds for ``count`` operations."""

    def __init__(self, nursery: tractor.ActorNursery, portal: tractor.Portal) -> None:
        self._nursery = nursery
        self._portal = portal
        #: Seconds that the slowest call of the last :meth:`rpc_beside` took.
        self.worst = 0.0

    async def rpc(self, count: int) -> float:
        """Calls, one after the other."""
        run, add = self._portal.run, endpoints.add
        begin = time.perf_counter()
        for number in range(count):
            await run(add, x=number, y=1)
        return time.perf_counter() - begin

    async def callers(self, count: int, *, callers: int) -> float:
        """Calls by many tasks at once, over one channel."""
        begin = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for _ in range(callers):
                nursery.start_soon(self.rpc, count // callers)
        return time.perf_counter() - begin

    async def ping_pong(self, count: int) -> float:
        """Values to and fro over one stream."""
        async with self._portal.open_context(endpoints.echo) as (ctx, _):
            async with ctx.open_stream(overflow="block") as stream:
                begin = time.perf_counter()
                for number in range(count):
                    await stream.send(number)
                    await stream.receive()
                return time.perf_counter() - begin

    async def one_way(self, count: int, *, size: int) -> float:
        """Values in one direction over one stream."""
        value = bytes(size)
        async with self._portal.open_context(endpoints.sink) as (ctx, _):
            begin = time.perf_counter()
            async with ctx.open_stream() as stream:
                for _ in range(count):
                    await stream.send(value)
            if await ctx.wait_for_result() != count:
                raise RuntimeError("values were lost")
            return time.perf_counter() - begin

    async def rpc_beside(self, count: int, *, piece: int) -> float:
        """Calls, one after the other, while ``count`` MiB are sent in pieces of ``piece`` MiB.

        Returns ``count`` times the median: how many calls there were depends on how fast the rest is.
        """
        run, add = self._portal.run, endpoints.add
        latencies = []
        done = False

        async def load() -> None:
            nonlocal done
            buffer = memoryview(bytes(min(piece, count) * MIB))
            left = count * MIB
            async with self._portal.open_context(endpoints.buffer_sink) as (ctx, _):
                async with ctx.open_stream() as stream:
                    while left:
                        await stream.send(buffer[:left])
                        left -= min(left, len(buffer))
                if await ctx.wait_for_result() != count * MIB:
                    raise RuntimeError("bytes were lost")
            done = True

        async with trio.open_nursery() as nursery:
            nursery.start_soon(load)
            while not done:
                begin = time.perf_counter()
                await run(add, x=1, y=1)
                latencies.append(time.perf_counter() - begin)
        self.worst = max(latencies)
        return median(latencies) * count

    async def contexts(self, count: int) -> float:
        """Contexts that are opened and end."""
        begin = time.perf_counter()
        for _ in range(count):
            async with self._portal.open_context(endpoints.nothing):
                pass
        return time.perf_counter() - begin

    async def spawn(self, count: int, *, start_method: str) -> float:
        """Actors started, one after the other, until each can be called; ending them is not counted."""
        seconds = 0.0
        for _ in range(count):
            begin = time.perf_counter()
            portal = await self._nursery.start_actor(
                "spawned", enable_modules=[endpoints.__name__], start_method=start_method
            )
            seconds += time.perf_counter() - begin
            await portal.cancel_actor()
            await portal.chan.wait_closed()
        return seconds


@asynccontextmanager
async def open_actors(scheme: str, directory: str) -> AsyncIterator[Actors]:
    """A tree of its own, whose registry nobody else uses."""
    of_files = scheme in ("uds", "zmq+ipc")
    registry = f"{scheme}://{directory}/registry.sock" if of_files else f"{scheme}://127.0.0.1:0"
    async with tractor.open_nursery(registry_addrs=[registry], enable_transports=[scheme]) as nursery:
        portal = await nursery.start_actor("benchmarked", enable_modules=[endpoints.__name__])
        yield Actors(nursery, portal)
        await nursery.cancel()
