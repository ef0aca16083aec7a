"""What the benchmarked actor serves."""

from __future__ import annotations

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
    count = 0
    async with ctx.open_stream(overflow="block") as stream:
        async for _ in stream:
            count += 1
    return count


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
