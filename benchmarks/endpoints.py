"""What the benchmarked actor serves."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

import trio

import tractor_core as tractor


async def add(x: int, y: int) -> int:
    """The smallest call that carries something."""
    return x + y


@tractor.context
async def echo(ctx: tractor.Context) -> None:
    """Send every value back."""
    await ctx.started()
    async with ctx.open_stream(overflow="block") as stream:
        async for value in stream:
            await stream.send(value)


@tractor.context
async def sink(ctx: tractor.Context) -> int:
    """Take values until there are no more; returns how many there were."""
    await ctx.started()
    received = 0
    async with ctx.open_stream(overflow="block") as stream:
        async for _ in stream:
            received += 1
    return received


@tractor.context
async def buffer_sink(ctx: tractor.Context) -> int:
    """Take buffers, without making objects of them; returns how many bytes there were."""
    await ctx.started()
    size = 0
    with tractor.msg.limit_plds(memoryview):
        async with ctx.open_stream(overflow="block") as stream:
            async for buffer in stream:
                size += len(buffer)
    return size


@tractor.context
async def nothing(ctx: tractor.Context) -> None:
    """Start and end."""
    await ctx.started()


async def forever() -> None:
    """A call that only cancellation ends."""
    await trio.sleep_forever()


@tractor.context
async def ticker(ctx: tractor.Context, interval: float) -> None:
    """Send a number every ``interval`` seconds until cancelled; without a pause where that is 0."""
    await ctx.started()
    async with ctx.open_stream(overflow="block") as stream:
        # Each at times of its own: a thousand that sleep from one value to the next fall into step, all
        # their values in one tick, and stay there.
        begin = trio.current_time() - random.random() * interval
        for number in count():
            await stream.send(number)
            late = (trio.current_time() - begin) % interval if interval else 0
            await trio.sleep(interval - late)


@tractor.context
async def greedy(ctx: tractor.Context) -> None:
    """Send without a pause until cancelled."""
    await ctx.started()
    async with ctx.open_stream(overflow="block") as stream:
        while True:
            await stream.send(b"0123456789abcdef")


@tractor.context
async def hold_below(ctx: tractor.Context, width: int, depth: int, start_method: str) -> None:
    """Hold ``width`` actors, each with as many below, ``depth`` levels deep; says so when all are there."""
    async with tractor.open_nursery() as nursery, open_below(nursery, width, depth, start_method):
        await ctx.started()
        await trio.sleep_forever()


@asynccontextmanager
async def open_below(
    nursery: tractor.ActorNursery, width: int, depth: int, start_method: str
) -> AsyncIterator[None]:
    """Start them; none for a depth of 0."""
    async with trio.open_nursery() as tasks:

        async def start(task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
            portal = await nursery.start_actor(
                "below", enable_modules=[__name__], start_method=start_method, inherit_parent_main=False
            )
            below = portal.open_context(hold_below, width=width, depth=depth - 1, start_method=start_method)
            async with below:
                task_status.started()
                await trio.sleep_forever()

        if depth:
            async with trio.open_nursery() as starting:
                for _ in range(width):
                    starting.start_soon(tasks.start, start)
        yield
        tasks.cancel_scope.cancel()


@tractor.context
async def idle(ctx: tractor.Context) -> None:
    """Do nothing until cancelled."""
    await ctx.started()
    await trio.sleep_forever()


async def look_up(name: str) -> bool:
    """Ask the registry for an actor that may not be there."""
    async with tractor.find_actor(name) as portal:
        return portal is not None
