"""What the tests of shared memory call in other processes."""

from __future__ import annotations

import os
import signal
import zlib
from typing import Any

import trio

import tractor_core as tractor

KEPT: list[Any] = []


async def checksum(data: memoryview) -> int:
    return zlib.crc32(data)


async def same(data: memoryview) -> memoryview:
    return data


async def keep(data: memoryview) -> int:
    """Keep a view for ever; how many there are."""
    KEPT.append(data)
    return len(KEPT)


async def kept_checksums() -> list[int]:
    return [zlib.crc32(view) for view in KEPT]


async def shared() -> int:
    """Messages that were passed in shared memory to or from whoever asks."""
    return sum(channel.shared for peers in tractor.current_actor().peers.values() for channel in peers)


async def mappings() -> tuple[int, int]:
    """Of shared memory: how many there are, and how many KiB of them are in use."""
    return mapped()


def mapped() -> tuple[int, int]:
    count = size = 0
    inside = False
    with open("/proc/self/smaps") as maps:
        for line in maps:
            if "-" in line.split(" ", 1)[0]:
                inside = "memfd:tractor-core" in line
                count += inside
            elif inside and line.startswith("Rss:"):
                size += int(line.split()[1])
    return count, size


async def refuse(data: memoryview) -> None:
    raise ValueError("not this", bytes(data[:3]), len(data))


async def raise_with_view(data: memoryview) -> None:
    """The error's traceback holds the view; it is told to the caller and kept here."""
    error = ValueError("kept")
    KEPT.append((error, data))
    raise error


async def die_holding(data: memoryview) -> None:
    KEPT.append(data)
    os.kill(os.getpid(), signal.SIGKILL)
    await trio.sleep_forever()


@tractor.context
async def take(ctx: tractor.Context, keep: int) -> tuple[int, int]:
    """Take views until there are no more, holding on to the last so many; their checksum and number."""
    await ctx.started()
    last: list[memoryview] = []
    crc = count = 0
    with tractor.msg.limit_plds(memoryview):
        async with ctx.open_stream(overflow="block") as stream:
            async for view in stream:
                crc = zlib.crc32(view[:1000], crc)
                count += 1
                last = [*last, view][-keep:] if keep else []
    return crc, count


@tractor.context
async def produce(ctx: tractor.Context, size: int) -> None:
    """Send values until cancelled."""
    await ctx.started()
    value = bytes(size)
    async with ctx.open_stream(overflow="block") as stream:
        while True:
            await stream.send(value)
