"""Trees over every transport at once: what the tests of real processes share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

import tractor_core as tractor

SCHEMES = ("tcp", "uds", "zmq+tcp", "zmq+ipc", "ws", "tls", "wss")
#: Those over which a stopped peer shows by itself.
SELF_EVIDENT = ("zmq+tcp", "zmq+ipc")

PROGRAM = Path(__file__).with_name("far_actor.py")
MODULES = ["liveness_endpoints"]


def options() -> dict[str, Any]:
    """Listen with every transport, and meet nobody at well-known places."""
    return {"registry_addrs": ["tcp://127.0.0.1:0"], "enable_transports": list(SCHEMES)}


@asynccontextmanager
async def children(nursery: tractor.ActorNursery) -> AsyncIterator[dict[str, tractor.Portal]]:
    """A child over each transport, which are ended with the block."""
    portals: dict[str, tractor.Portal] = {}

    async def start(scheme: str) -> None:
        portals[scheme] = await nursery.start_actor(
            f"over {scheme}", enable_modules=MODULES, enable_transports=[scheme]
        )
        assert portals[scheme].chan.laddr.scheme == scheme

    async with trio.open_nursery() as starting:
        for scheme in SCHEMES:
            starting.start_soon(start, scheme)
    yield portals
    await nursery.cancel()


@asynccontextmanager
async def stranger() -> AsyncIterator[tuple[subprocess.Popen[bytes], dict[str, str]]]:
    """A process that is nobody's child here, and its address over each transport."""
    with subprocess.Popen([sys.executable, str(PROGRAM)], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            line = await trio.to_thread.run_sync(process.stdout.readline)
            urls: list[str] = json.loads(line)
            yield process, {url.partition(":")[0]: url for url in urls}
        finally:
            process.kill()


def descriptors() -> int:
    """How many this process holds."""
    return len(os.listdir("/proc/self/fd"))


async def settled(before: int, seconds: float = 5.0) -> None:
    """Wait until no more descriptors are open than before."""
    with trio.fail_after(seconds):
        while descriptors() > before:
            await trio.sleep(0.02)
