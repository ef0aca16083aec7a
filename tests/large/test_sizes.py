"""Payloads from nothing to hundreds of megabytes, over every transport, beside small ones."""

from __future__ import annotations

import random
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import budget_endpoints as endpoints
import pytest
import registries
import trio

import tractor_core as tractor
from tractor_core.protocol.chunks import CHUNK, WHOLE_UP_TO

KIB = 1024
MIB = 1024 * KIB
FRAME = 16 * MIB

SCHEMES = ("tcp", "uds", "zmq+tcp", "ws")
EDGES = (
    0,
    1,
    255,
    256,
    CHUNK,
    WHOLE_UP_TO - 20,
    WHOLE_UP_TO,
    WHOLE_UP_TO + 1,
    MIB,
    FRAME - 1,
    FRAME,
    FRAME + 1,
)


@asynccontextmanager
async def open_worker(scheme: str) -> AsyncIterator[tractor.Portal]:
    registry = registries.new_registry(scheme)
    async with tractor.open_nursery(registry_addrs=[registry], enable_transports=[scheme]) as nursery:
        yield await nursery.start_actor(
            "worker", enable_modules=[endpoints.__name__], start_method="forkserver"
        )
        await nursery.cancel()


def some_bytes(size: int) -> bytes:
    """Bytes in which no shift or swap of parts goes unseen."""
    block = random.Random(size).randbytes(min(size, 4 * MIB - 1))
    return (block * (size // max(1, len(block)) + 1))[:size]


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_every_size_arrives_as_it_was(scheme: str) -> None:
    async with open_worker(scheme) as portal:
        for size in EDGES:
            data = some_bytes(size)
            assert await portal.run(endpoints.checksum, data) == (size, zlib.crc32(data))
            back = await portal.run(endpoints.same, memoryview(data))
            assert back == data


@pytest.mark.limit(120)
@pytest.mark.parametrize("size", [64 * MIB, 300 * MIB])
@pytest.mark.parametrize("scheme", SCHEMES)
async def test_large_ones_both_ways(scheme: str, size: int) -> None:
    """A small call beside each direction is answered long before the large one is through."""
    data = some_bytes(size)
    async with open_worker(scheme) as portal:
        done = trio.Event()
        answered_beside = 0

        async def beside() -> None:
            nonlocal answered_beside
            while not done.is_set():
                assert await portal.run(endpoints.add, 1, 2) == 3
                answered_beside += 1

        async with trio.open_nursery() as tasks:
            tasks.start_soon(beside)
            assert await portal.run(endpoints.checksum, data) == (size, zlib.crc32(data))
            assert answered_beside > 10
            answered_beside = 0
            back = await portal.run(endpoints.fill, size, 7)
            done.set()
        assert len(back) == size
        assert back.count(b"\7") == size if isinstance(back, bytes) else bytes(back).count(b"\7") == size
        assert answered_beside > 10


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_large_values_of_several_streams_keep_apart(scheme: str) -> None:
    async with open_worker(scheme) as portal, trio.open_nursery() as tasks:

        async def exchange(seed: int) -> None:
            async with portal.open_context(endpoints.echo) as (ctx, _), ctx.open_stream() as stream:
                for number in range(4):
                    data = some_bytes(seed * MIB + number)
                    await stream.send(data)
                    assert await stream.receive() == data

        for seed in range(5):
            tasks.start_soon(exchange, seed)
