"""The floor: msgspec over the library that moves the bytes, two processes, no runtime."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio

from .connecting import Connection, connect
from .lines import read_line


class Bare:
    """A client of the bare server. Every method returns seconds for ``count`` operations."""

    def __init__(self, nursery: trio.Nursery, address: Sequence[Any], frames: Connection) -> None:
        self._nursery = nursery
        self._address = address
        self._frames = frames

    async def echo(self, count: int) -> float:
        """Round trips, one after the other."""
        frames = self._frames
        begin = time.perf_counter()
        for number in range(count):
            await frames.send(("echo", number))
            await frames.receive()
        return time.perf_counter() - begin

    async def callers(self, count: int, *, callers: int) -> float:
        """Round trips by many tasks at once, each over a connection of its own."""
        connections = [await connect(self._nursery, self._address) for _ in range(callers)]
        begin = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for frames in connections:
                nursery.start_soon(Bare(self._nursery, self._address, frames).echo, count // callers)
        seconds = time.perf_counter() - begin
        for frames in connections:
            await frames.aclose()
        return seconds

    async def one_way(self, count: int, *, size: int) -> float:
        """Values in one direction, acknowledged once at the end."""
        frames, value = self._frames, bytes(size)
        begin = time.perf_counter()
        await frames.send(("count", count))
        for _ in range(count):
            await frames.send(value)
        if await frames.receive() != count:
            raise RuntimeError("the bare server ended in the middle of a round")
        return time.perf_counter() - begin


@asynccontextmanager
async def open_bare(scheme: str, directory: str) -> AsyncIterator[Bare]:
    """Start the bare server and connect to it."""
    command = [sys.executable, "-m", "benchmarks.bare_server", scheme, directory]
    async with trio.open_nursery() as nursery:
        process = await nursery.start(partial(trio.run_process, command, stdout=subprocess.PIPE, check=False))
        try:
            address = json.loads(await read_line(process))
            frames = await connect(nursery, address)
            yield Bare(nursery, address, frames)
            await frames.aclose()
        finally:
            nursery.cancel_scope.cancel()
