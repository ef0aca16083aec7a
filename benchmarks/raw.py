"""The raw trio RPC as a side of the table: see :mod:`benchmarks.raw_trio`."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import trio

from .lines import read_line
from .raw_trio import RawClient

SCHEMES = ("tcp", "uds")


class Raw:
    """A client of the raw server. Every method returns seconds for ``count`` operations."""

    def __init__(self, client: RawClient) -> None:
        self._client = client

    async def rpc(self, count: int) -> float:
        """Calls, one after the other."""
        call = self._client.call
        begin = time.perf_counter()
        for number in range(count):
            await call(number, 1)
        return time.perf_counter() - begin

    async def callers(self, count: int, *, callers: int) -> float:
        """Calls by many tasks at once, over one channel."""
        begin = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for _ in range(callers):
                nursery.start_soon(self.rpc, count // callers)
        return time.perf_counter() - begin

    async def one_way(self, count: int, *, size: int) -> float:
        """Values in one direction over one stream."""
        begin = time.perf_counter()
        if await self._client.one_way(count, bytes(size)) != count:
            raise RuntimeError("values were lost")
        return time.perf_counter() - begin


@asynccontextmanager
async def open_raw(scheme: str, directory: str) -> AsyncIterator[Raw | None]:
    """Start the raw server and connect to it; None over what is no plain socket."""
    if scheme not in SCHEMES:
        yield None
        return
    command = [sys.executable, "-m", "benchmarks.raw_trio", scheme, directory]
    async with trio.open_nursery() as nursery:
        process = await nursery.start(partial(trio.run_process, command, stdout=subprocess.PIPE, check=False))
        address = json.loads(await read_line(process))
        sock = socket.socket(socket.AF_UNIX if scheme == "uds" else socket.AF_INET)
        with sock:
            sock.connect(address if scheme == "uds" else tuple(address))
            client = RawClient(sock)
            nursery.start_soon(client.channel.flush)
            nursery.start_soon(client.channel.read)
            yield Raw(client)
            nursery.cancel_scope.cancel()
