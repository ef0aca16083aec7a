"""What actors of every start method run in these tests; real processes import this module by its name."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator

import trio

import tractor_core as tractor


async def double(value: int) -> int:
    return 2 * value


async def own_pid() -> int:
    return os.getpid()


async def fail() -> None:
    raise ValueError("as asked")


async def forever() -> None:
    await trio.sleep_forever()


async def count(number: int) -> AsyncIterator[int]:
    for value in range(number):
        yield value


@tractor.context
async def echo(ctx: tractor.Context, first: int) -> str:
    await ctx.started(first)
    async with ctx.open_stream() as stream:
        async for value in stream:
            await stream.send(value)
    return "done"


async def double_below(value: int, methods: list[str]) -> tuple[int, list[int]]:
    """Have the last actor of a chain, each started by the method named, double it; all their pids."""
    if not methods:
        return 2 * value, [os.getpid()]
    async with tractor.open_nursery() as nursery:
        portal = await nursery.start_actor(
            f"below-{methods[0]}", enable_modules=[__name__], start_method=methods[0]
        )
        result, pids = await portal.run(double_below, value=value, methods=methods[1:])
        await nursery.cancel()
    return result, [os.getpid(), *pids]


async def multiprocessing_is_loaded() -> bool:
    return "multiprocessing.spawn" in sys.modules
