"""Endpoints for trees over ZeroMQ; importable by the children."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator

import trio

import tractor_core as tractor


async def add(x: int, y: int) -> int:
    return x + y


async def blob(size: int) -> bytes:
    return bytes(size)


async def pid() -> int:
    return os.getpid()


async def forever() -> None:
    await trio.sleep_forever()


async def compute(seconds: float) -> str:
    time.sleep(seconds)
    return "done"


async def count(n: int) -> AsyncIterator[int]:
    for number in range(n):
        yield number


@tractor.context
async def echo(ctx: tractor.Context) -> str:
    await ctx.started("ready")
    async with ctx.open_stream() as stream:
        async for value in stream:
            await stream.send(value)
    return "end"


async def ask_below(depth: int) -> list[int]:
    """The pids of a chain of actors, this one's first."""
    if depth == 0:
        return [os.getpid()]
    async with tractor.open_nursery() as nursery:
        child = await nursery.start_actor(f"level-{depth}", enable_modules=[__name__])
        below = await child.run(ask_below, depth=depth - 1)
        await child.cancel_actor()
    return [os.getpid(), *below]
