"""Runs the conformance kits on the plugins of tractor-core-fifo, as its own author would."""

from __future__ import annotations

import tractor_fifo
import trio
from tractor_fifo.spawning import backend

from tractor_core.testing import check_listener, check_transport, connected_pair
from tractor_core.testing.check_spawn_backend import check_spawn_backend


async def main() -> None:
    await check_transport(connected_pair(tractor_fifo.transport))
    print("transport conforms")
    await check_listener(tractor_fifo.transport)
    print("listener conforms")
    await check_spawn_backend(backend)
    print("spawn backend conforms")


trio.run(main)
