"""The same work, done by actors: what is about starting and ending them, besides calls and streams."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import trio

import tractor_core as tractor

from . import endpoints
from .calling import Calling
from .processes import private_bytes


class Actors(Calling):
    """Starts actors, and ends them uncounted."""

    def __init__(self, nursery: tractor.ActorNursery, portal: tractor.Portal) -> None:
        super().__init__(portal)
        self._nursery = nursery

    async def spawn(self, count: int, *, start_method: str) -> float:
        """Actors started, one after the other, until each can be called."""
        seconds = 0.0
        for _ in range(count):
            begin = time.perf_counter()
            portal = await self._start(start_method)
            seconds += time.perf_counter() - begin
            await _end(portal)
        return seconds

    async def spawn_at_once(self, count: int, *, together: int, start_method: str) -> float:
        """``together`` actors at a time, until all can be called."""
        seconds = 0.0
        for _ in range(count):
            portals: list[tractor.Portal] = []

            async def start(portals: list[tractor.Portal] = portals) -> None:
                portals.append(await self._start(start_method))

            begin = time.perf_counter()
            async with trio.open_nursery() as nursery:
                for _ in range(together):
                    nursery.start_soon(start)
            seconds += time.perf_counter() - begin
            async with trio.open_nursery() as nursery:
                for portal in portals:
                    nursery.start_soon(_end, portal)
        return seconds

    async def memory(self, count: int, *, start_method: str) -> float:
        """Bytes, not seconds: what ``count`` actors that have been called once hold for themselves."""
        portals = [await self._start(start_method) for _ in range(count)]
        for portal in portals:
            await portal.run(endpoints.add, x=1, y=1)
        held = sum(private_bytes(portal.chan.aid.pid) for portal in portals)
        for portal in portals:
            await _end(portal)
        return float(held)

    async def death(self, count: int) -> float:
        """From ``kill -9`` of an actor that owes an answer until its caller is told."""
        return sum([await _kill_one() for _ in range(count)])

    async def _start(self, start_method: str) -> tractor.Portal:
        return await self._nursery.start_actor(
            "spawned",
            enable_modules=[endpoints.__name__],
            start_method=start_method,
            inherit_parent_main=False,
        )


async def _end(portal: tractor.Portal) -> None:
    await portal.cancel_actor(timeout=10)
    await portal.chan.wait_closed()


async def _kill_one() -> float:
    """In a nursery of its own, which fails as it must when one of its actors is killed."""
    killed = told = 0.0

    async def ask(portal: tractor.Portal) -> None:
        nonlocal told
        try:
            await portal.run(endpoints.forever)
        finally:
            told = time.perf_counter()

    with suppress(tractor.ActorDied):
        async with tractor.open_nursery() as nursery:
            portal = await nursery.start_actor(
                "mortal", enable_modules=[endpoints.__name__], start_method="forkserver"
            )
            async with trio.open_nursery() as tasks:
                tasks.start_soon(ask, portal)
                await portal.run(endpoints.add, x=1, y=1)
                killed = time.perf_counter()
                os.kill(portal.chan.aid.pid, signal.SIGKILL)
    return told - killed


@asynccontextmanager
async def open_actors(scheme: str, directory: str) -> AsyncIterator[Actors]:
    """A tree of its own, whose registry nobody else uses."""
    of_files = scheme in ("uds", "zmq+ipc")
    registry = f"{scheme}://{directory}/registry.sock" if of_files else f"{scheme}://127.0.0.1:0"
    async with tractor.open_nursery(registry_addrs=[registry], enable_transports=[scheme]) as nursery:
        portal = await nursery.start_actor("benchmarked", enable_modules=[endpoints.__name__])
        yield Actors(nursery, portal)
        await nursery.cancel()
