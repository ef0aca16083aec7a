"""Real processes whose parent computes while it starts them, in pieces that use up anybody's patience."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import busy_endpoints
import pytest
import trio

import tractor_core as tractor

#: So that a fifth of a second is long.
HASTY = tractor.Limits(handshake_timeout=0.4)


@asynccontextmanager
async def computing(piece: float) -> AsyncIterator[None]:
    """In each turn of this loop some task computes for ``piece`` seconds: real ones, for real processes."""

    async def compute() -> None:
        while True:
            time.sleep(piece)
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(compute)
        yield
        nursery.cancel_scope.cancel()


# Each turn of the loop takes so long, and there are some thirty.
@pytest.mark.limit(90)
@pytest.mark.parametrize(("scheme", "piece"), [("tcp", 0.4), ("uds", 0.2)])
async def test_a_child_starts_however_long_its_parent_computes(scheme: str, piece: float) -> None:
    async with tractor.open_nursery(enable_transports=[scheme], limits=HASTY) as an:
        async with computing(piece):
            portal = await an.start_actor("child", enable_modules=[busy_endpoints.__name__])
        assert await portal.run(busy_endpoints.process_id) not in (0, os.getpid())
        await an.cancel()
