"""What the actors of ``everything.py`` do."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import trio

import tractor_core as tractor


class Unwilling(Exception):
    """Both sides know it."""


async def add(x: int, y: int) -> int:
    return x + y


async def digest(value: bytes) -> str:
    return hashlib.sha256(value).hexdigest()


async def zeros(size: int) -> bytes:
    return bytes(size)


async def refuse(reason: str) -> None:
    raise Unwilling(reason)


async def wait() -> None:
    await trio.sleep_forever()


async def squares(upto: int) -> AsyncIterator[int]:
    for number in range(upto):
        yield number * number


@tractor.context
async def running_total(ctx: tractor.Context, start: int) -> int:
    """Answers every number with the sum so far."""
    total = start
    await ctx.started(total)
    async with ctx.open_stream(overflow="block") as stream:
        async for number in stream:
            total += number
            await stream.send(total)
    return total


@tractor.context
async def holds_until_cancelled(ctx: tractor.Context) -> None:
    await ctx.started("holding")
    await trio.sleep_forever()


async def ask_by_name(name: str, x: int, y: int) -> int:
    """Find another actor and let it add."""
    async with tractor.find_actor(name, raise_on_none=True) as portal:
        return await portal.run(add, x, y)


async def grow(names: list[str], x: int) -> list[Any]:
    """A chain of actors below this one, each of which adds one; who they are, and the sum."""
    if not names:
        return [x]
    async with tractor.open_nursery() as nursery:
        portal = await nursery.start_actor(names[0], enable_modules=[__name__])
        below = await portal.run(grow, names[1:], x + 1)
        await nursery.cancel()
    return [names[0], *below]


async def fail_below(names: list[str], reason: str) -> None:
    """The last of a chain of actors fails."""
    async with tractor.open_nursery() as nursery:
        if len(names) == 1:
            await nursery.run_in_actor(refuse, name=names[0], reason=reason)
        else:
            await nursery.run_in_actor(fail_below, name=names[0], names=names[1:], reason=reason)
