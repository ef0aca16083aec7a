"""What the actors at both ends of a cable serve, and how they note what becomes of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import trio

import tractor_core as tractor

_noted: list[str] = []


async def add(x: int, y: int) -> int:
    return x + y


async def noted() -> list[str]:
    """What became of what this end had under way."""
    return _noted


async def wait() -> None:
    await trio.sleep_forever()


@tractor.context
async def echo(ctx: tractor.Context) -> None:
    await ctx.started()
    try:
        async with ctx.open_stream() as stream:
            async for value in stream:
                await stream.send(value)
    except tractor.TransportClosed as error:
        _noted.append(f"stream {type(error).__name__}")
        raise


@tractor.context
async def calls_back(ctx: tractor.Context, address: str) -> None:
    """Have a call under way to whoever asks, over a connection that this end dialled."""
    async with tractor.open_portal(address) as portal:
        assert await portal.run(add, 1, 1) == 2
        await ctx.started()
        # Its fate is that of its own connection, not of the one it was asked over.
        with trio.CancelScope(shield=True):
            await outcome("call back", partial(portal.run, wait), _noted.append)


async def outcome(what: str, work: Callable[[], Awaitable[Any]], tell: Callable[[str], None]) -> None:
    """Tell by which error the work ends."""
    try:
        await work()
    except tractor.TransportClosed as error:
        tell(f"{what} {type(error).__name__}")
    else:
        tell(f"{what} ended")
