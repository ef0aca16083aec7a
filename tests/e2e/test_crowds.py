"""Two hundred clients of one listener, each streaming both ways; two of them do not keep up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import meeting_endpoints as endpoints
import pytest
import trio
from daemons import HERE, Daemon, daemon

import tractor_core as tractor

CLIENTS = 200
#: Values each way for those that keep up, and how large they are (bytes).
VALUES, SIZE = 40, 1024
#: What waits for each of those that do not (values): a hundred windows, 26 MB.
BACKLOG, BACKLOG_SIZE = 6_400, 4096

#: What a connected client may cost the listener, with its stream (bytes). Libraries keep a state for
#: each: up to 150 KiB were seen. What waits for the slow ones, 52 MB, would not fit.
ALLOWED = CLIENTS * 200 * 1024

#: A client that reads a little, and is then stopped: its kernel takes no more.
_STOPPED = """
import os, signal, sys
sys.path.insert(0, {here!r})
import trio, tractor_core as tractor, meeting_endpoints as endpoints

async def main():
    async with tractor.open_portal({url!r}, name="stopped") as portal:
        async with portal.open_context(endpoints.exchange, count={count}, size={size}) as (ctx, _):
            async with ctx.open_stream(overflow="block") as stream:
                await stream.receive()
                os.kill(os.getpid(), signal.SIGSTOP)

trio.run(main)
"""


@asynccontextmanager
async def stopped_client(url: str) -> AsyncIterator[subprocess.Popen[bytes]]:
    source = _STOPPED.format(here=HERE, url=url, count=BACKLOG, size=BACKLOG_SIZE)
    with subprocess.Popen([sys.executable, "-c", source]) as process:
        try:
            while _state(process.pid) != "T":
                assert process.poll() is None
                await trio.sleep(0.02)
            yield process
        finally:
            process.send_signal(signal.SIGKILL)


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


class Crowd:
    """The clients of this process: each a client of its own, with a connection of its own."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.connected = 0
        self.finished = 0
        self.all_connected = trio.Event()
        self.may_read = trio.Event()
        #: They stay connected at once, but need not all shake hands at once, for which there is a time limit.
        self._dialling = trio.CapacityLimiter(20)

    async def keeps_up(self, number: int) -> None:
        async with AsyncExitStack() as stack:
            async with self._dialling:
                dialled = tractor.open_portal(self._url, name=f"quick-{number}")
                portal = await stack.enter_async_context(dialled)
            await self._join()
            async with portal.open_context(endpoints.exchange, count=VALUES, size=SIZE) as (ctx, _):
                async with ctx.open_stream(overflow="block") as stream:
                    for expected in range(VALUES):
                        await stream.send(bytes(SIZE))
                        assert (await stream.receive())[:4] == expected.to_bytes(4)
            assert await ctx.wait_for_result() == VALUES
            self.finished += 1

    async def falls_behind(self) -> None:
        """Takes nothing until it may, and then everything."""
        async with tractor.open_portal(self._url, name="slow") as portal:
            async with portal.open_context(endpoints.exchange, count=BACKLOG, size=BACKLOG_SIZE) as (ctx, _):
                async with ctx.open_stream(overflow="block") as stream:
                    await self._join()
                    await self.may_read.wait()
                    for expected in range(BACKLOG):
                        assert (await stream.receive())[:4] == expected.to_bytes(4)

    async def _join(self) -> None:
        self.connected += 1
        if self.connected == CLIENTS - 1:
            self.all_connected.set()
        await self.all_connected.wait()


@pytest.mark.limit(120)
async def test_two_hundred_clients_and_two_that_do_not_keep_up(registry: str) -> None:
    async with daemon(registry) as program, tractor.open_portal(registry) as watcher:
        await quiet(watcher)
        memory, descriptors = program.resident(), descriptors_of(program)
        crowd = Crowd(registry)
        async with stopped_client(registry), trio.open_nursery() as nursery:
            nursery.start_soon(crowd.falls_behind)
            async with trio.open_nursery() as quick:
                for number in range(CLIENTS - 2):
                    quick.start_soon(crowd.keeps_up, number)
                await crowd.all_connected.wait()
                # A stopped peer is dropped by transports that can tell.
                assert (await watcher.run_from_ns("self", "status"))["channels"] >= CLIENTS
            # All that keep up are through while the slow ones have hardly begun.
            assert crowd.finished == CLIENTS - 2
            grown = program.resident() - memory
            print(f"{registry}: {grown / 2**20:.1f} MB for {CLIENTS} clients")
            assert grown < ALLOWED
            crowd.may_read.set()
        await quiet(watcher)
        with trio.fail_after(10):
            while descriptors_of(program) > descriptors:
                await trio.sleep(0.02)
        # Of the stopped one it may be said that it does not answer, and of nobody else.
        assert [line for line in program.errors() if "stopped@" not in line] == []


async def quiet(watcher: tractor.Portal) -> None:
    """Wait until nobody but the watcher is connected."""
    with trio.fail_after(15):
        while (await watcher.run_from_ns("self", "status"))["channels"] > 1:
            await trio.sleep(0.02)


def descriptors_of(program: Daemon) -> int:
    return len(os.listdir(f"/proc/{program.pid}/fd"))
