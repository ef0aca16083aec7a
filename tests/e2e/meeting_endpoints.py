"""What the programs of the meeting, security and hostility tests expose."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import trio

import tractor_core as tractor


async def whoami() -> str:
    return tractor.current_actor().name


async def pid() -> int:
    return os.getpid()


async def echo(value: bytes) -> bytes:
    return value


async def sleep_forever() -> None:
    await trio.sleep_forever()


async def find(name: str) -> int | None:
    """The pid of who is found under a name, asked itself."""
    async with tractor.find_actor(name) as portal:
        return None if portal is None else await portal.run(pid)


async def wait_for(name: str) -> int:
    async with tractor.wait_for_actor(name) as portal:
        return await portal.run(pid)


async def is_registrar() -> bool:
    return tractor.current_actor().is_registrar


async def count(stop: int) -> AsyncIterator[int]:
    for value in range(stop):
        yield value


@tractor.context
async def double(ctx: tractor.Context) -> str:
    await ctx.started("ready")
    async with ctx.open_stream() as stream:
        async for value in stream:
            await stream.send(value * 2)
    return "done"


@tractor.context
async def exchange(ctx: tractor.Context, count: int, size: int) -> int:
    """Sends so many values of so many bytes while it takes what comes; returns how many came."""
    taken = 0
    await ctx.started()
    async with ctx.open_stream(overflow="block") as stream:

        async def pour() -> None:
            for number in range(count):
                await stream.send(number.to_bytes(4) + bytes(size))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(pour)
            async for _ in stream:
                taken += 1
    return taken
