"""Endpoints for trees over WebSockets and for their clients; importable by the children."""

from __future__ import annotations

import os
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


async def count(n: int) -> AsyncIterator[int]:
    for value in range(n):
        yield value


@tractor.context
async def echo(ctx: tractor.Context) -> str:
    await ctx.started("ready")
    async with ctx.open_stream() as stream:
        async for value in stream:
            await stream.send(value)
    return "end"


async def ask_below(depth: int) -> list[int]:
    """The process ids of this actor and of a chain of children below it."""
    if depth == 0:
        return [os.getpid()]
    async with tractor.open_nursery() as nursery:
        portal = await nursery.start_actor("below", enable_modules=[__name__])
        below = await portal.run(ask_below, depth=depth - 1)
        await portal.cancel_actor()
    return [os.getpid(), *below]


# -- for clients -------------------------------------------------------------------------------


@tractor.expose(clients=True)
async def multiply(x: int, y: int) -> int:
    return x * y


@tractor.expose(clients=True)
async def fail(reason: str) -> None:
    raise ValueError(reason)


@tractor.expose(clients=True)
async def ticks(n: int) -> AsyncIterator[int]:
    for value in range(n):
        yield value


@tractor.expose(clients=True)
@tractor.context
async def double(ctx: tractor.Context) -> str:
    await ctx.started("ready")
    async with ctx.open_stream() as stream:
        async for value in stream:
            await stream.send(value * 2)
    return "doubled"


@tractor.expose(clients=True)
@tractor.context
async def hang(ctx: tractor.Context) -> None:
    await ctx.started()
    await trio.sleep_forever()


@tractor.expose(clients=True)
@tractor.context
async def flood(ctx: tractor.Context, n: int) -> None:
    """As many values as the client grants credit for."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        for value in range(n):
            await stream.send(value)
