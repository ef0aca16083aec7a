"""What the tests of large payloads call, in other processes too."""

from __future__ import annotations

import resource
import zlib
from collections.abc import AsyncIterator
from typing import Any

import trio

import tractor_core as tractor


async def length(data: bytes) -> int:
    return len(data)


async def same(data: memoryview) -> memoryview:
    return data


async def checksum(data: memoryview) -> tuple[int, int]:
    """Bytes, and their CRC-32."""
    return len(data), zlib.crc32(data)


async def fill(size: int, byte: int) -> memoryview:
    return memoryview(bytes([byte]) * size)


async def peak_memory() -> int:
    """The most that this process has had in memory (bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


async def make_bytes(size: int) -> bytes:
    return b"x" * size


async def add(x: int, y: int) -> int:
    return x + y


async def fail_at_length(size: int) -> None:
    raise ValueError("long" * size)


@tractor.context
async def never_reads(ctx: tractor.Context) -> None:
    """Opens its half and takes nothing."""
    await ctx.started()
    async with ctx.open_stream(overflow="block"):
        await trio.sleep_forever()


@tractor.context
async def never_opens(ctx: tractor.Context) -> None:
    await ctx.started()
    await trio.sleep_forever()


@tractor.context
async def pauses_then_counts(ctx: tractor.Context, pause: float, overflow: str) -> tuple[int, bool, int]:
    """Take numbers after a pause: how many there were, whether in order, and how many had waited."""
    await ctx.started()
    options: dict[str, Any] = {"allow_overruns": True} if overflow == "buffer" else {"overflow": overflow}
    async with ctx.open_stream(**options) as stream:
        await trio.sleep(pause)
        inbox = ctx.dialog.inbox
        waited = len(inbox.values) if inbox is not None else 0
        count, in_order = 0, True
        async for number in stream:
            in_order = in_order and number == count
            count += 1
    return count, in_order, waited


@tractor.context
async def echo(ctx: tractor.Context) -> None:
    await ctx.started()
    async with ctx.open_stream(overflow="block") as stream:
        async for value in stream:
            await stream.send(value)


@tractor.context
async def sends(ctx: tractor.Context, size: int) -> None:
    """Send one value of this size after another."""
    await ctx.started()
    value = b"x" * size
    async with ctx.open_stream() as stream:
        while True:
            await stream.send(value)


async def generate(count: int, size: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"x" * size
