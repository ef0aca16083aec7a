"""The same work, done by an actor: calls and streams."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import trio

import tractor_core as tractor

from . import endpoints

MIB = 1024 * 1024


class Calling:
    """An actor to call. Every method returns seconds for ``count`` operations."""

    def __init__(self, portal: tractor.Portal) -> None:
        self.portal = portal
        #: Seconds that the slowest call of the last :meth:`rpc_beside` took.
        self.worst = 0.0

    async def rpc(self, count: int) -> float:
        """Calls, one after the other."""
        run, add = self.portal.run, endpoints.add
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
        async with self.portal.open_context(endpoints.echo) as (ctx, _):
            async with ctx.open_stream(overflow="block") as stream:
                begin = time.perf_counter()
                for number in range(count):
                    await stream.send(number)
                    await stream.receive()
                return time.perf_counter() - begin

    async def one_way(self, count: int, *, size: int) -> float:
        """Values in one direction over one stream."""
        return await self._pour(endpoints.sink, count, size, taken=count)

    async def one_way_views(self, count: int, *, size: int) -> float:
        """The same, to a receiver that takes views of what came."""
        return await self._pour(endpoints.buffer_sink, count, size, taken=count * size)

    async def _pour(self, sink: Any, count: int, size: int, *, taken: int) -> float:
        """Send so many values of so many bytes; ``taken`` is what ``sink`` must return."""
        value = bytes(size)
        async with self.portal.open_context(sink) as (ctx, _):
            begin = time.perf_counter()
            async with ctx.open_stream() as stream:
                for _ in range(count):
                    await stream.send(value)
            if await ctx.wait_for_result() != taken:
                raise RuntimeError("values were lost")
            return time.perf_counter() - begin

    async def rpc_beside(self, count: int, *, piece: int) -> float:
        """Calls, one after the other, while ``count`` MiB are sent in pieces of ``piece`` MiB.

        Returns ``count`` times the median: how many calls there were depends on how fast the rest is.
        """
        run, add = self.portal.run, endpoints.add
        latencies = []
        done = False

        async def load() -> None:
            nonlocal done
            buffer = memoryview(bytes(min(piece, count) * MIB))
            left = count * MIB
            async with self.portal.open_context(endpoints.buffer_sink) as (ctx, _):
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
            async with self.portal.open_context(endpoints.nothing):
                pass
        return time.perf_counter() - begin

    async def p99(self, count: int) -> float:
        """``count`` times the 99th percentile of ``count`` calls."""
        return count * self._percentile(await self._latencies(count))

    async def p99_beside_streams(self, count: int) -> float:
        """The same, of calls every few milliseconds beside ``count`` streams of ten values a second."""
        ready = trio.Event()
        opened = 0

        async def listen() -> None:
            nonlocal opened
            async with self.portal.open_context(endpoints.ticker, interval=0.1) as (ctx, _):
                async with ctx.open_stream(overflow="block") as stream:
                    await stream.receive()
                    opened += 1
                    if opened == count:
                        ready.set()
                    async for _ in stream:
                        pass

        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(listen)
            await ready.wait()
            latencies = await self._latencies(max(10, count // 3), pause=0.003)
            nursery.cancel_scope.cancel()
        return count * self._percentile(latencies)

    async def p99_beside_greedy(self, count: int) -> float:
        """The same, of ``count`` calls beside a stream that sends without a pause."""

        async def listen() -> None:
            async with self.portal.open_context(endpoints.greedy) as (ctx, _):
                async with ctx.open_stream(overflow="block") as stream:
                    async for _ in stream:
                        pass

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            await trio.sleep(0.05)  # until it is under way
            latencies = await self._latencies(count)
            nursery.cancel_scope.cancel()
        return count * self._percentile(latencies)

    async def _latencies(self, count: int, pause: float = 0.0) -> list[float]:
        latencies = []
        for _ in range(count):
            begin = time.perf_counter()
            await self.portal.run(endpoints.add, x=1, y=1)
            latencies.append(time.perf_counter() - begin)
            if pause:
                await trio.sleep(pause)
        return latencies

    def _percentile(self, latencies: list[float], percent: int = 99) -> float:
        return sorted(latencies)[(len(latencies) - 1) * percent // 100]
