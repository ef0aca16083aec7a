"""What the actors of the liveness tests do: nothing for a while, in several ways."""

from __future__ import annotations

import time

import trio

import tractor_core as tractor


async def hang() -> None:
    """Answer nothing, as a task; the loop goes on."""
    await trio.sleep_forever()


class Hold:
    """Keeps what :func:`never_end` started, until the test lets it go."""

    released = trio.Event()


async def never_end() -> None:
    """Take a cancel, and not end."""
    with trio.CancelScope(shield=True):
        await Hold.released.wait()


@tractor.context
async def never_leave(ctx: tractor.Context) -> None:
    """The same, as a context."""
    await ctx.started()
    await never_end()


async def echo(value: int) -> int:
    return value


async def block(seconds: float) -> float:
    """Keep the loop from running: nothing in this actor can answer meanwhile."""
    time.sleep(seconds)
    return seconds


async def compute(seconds: float) -> int:
    """The same in Python, holding the interpreter."""
    rounds, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        rounds += 1
    return rounds


@tractor.context
async def count(ctx: tractor.Context, seconds: float) -> str:
    """A stream that goes on where it was, after its task has kept the loop for a while."""
    await ctx.started("ready")
    async with ctx.open_stream() as stream:
        async for number in stream:
            if number == 1:
                time.sleep(seconds)
            await stream.send(number + 1)
    return "done"


@tractor.context
async def listen(ctx: tractor.Context) -> None:
    """A stream on which nothing comes."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        await stream.receive()


async def end_slowly(seconds: float) -> None:
    """Take a cancel, and end ``seconds`` after the beginning."""
    with trio.CancelScope(shield=True):
        await trio.sleep(seconds)


async def heartbeat() -> list[float | None]:
    """How this actor watches its channels."""
    settings = tractor.current_actor().heartbeats.default
    return [settings.interval, settings.timeout]
