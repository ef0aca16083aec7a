"""What the tests of the ssh backend run on the other host."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import AsyncIterator

import trio

import tractor_core as tractor


async def facts() -> dict[str, str | int]:
    """Of the process that answers."""
    return {
        "name": tractor.current_actor().name,
        "pid": os.getpid(),
        "keeper": os.getppid(),
        "connection": os.environ.get("SSH_CONNECTION", ""),
        "said": os.environ.get("SAID", ""),
        "cwd": os.getcwd(),
    }


async def count(to: int) -> AsyncIterator[int]:
    for number in range(to):
        yield number


async def fail() -> None:
    raise LookupError("not over here")


async def say(out: str, err: str) -> None:
    print(out)
    print(err, file=sys.stderr, flush=True)


@tractor.context
async def wait_for_ever(ctx: tractor.Context, path: str) -> None:
    """Leaves a file behind when cancelled in good order."""
    try:
        await ctx.started(os.getpid())
        await trio.sleep_forever()
    finally:
        with open(path, "w") as file:
            file.write("unwound")


async def end_by(number: int) -> None:
    os.kill(os.getpid(), number)
    await trio.sleep_forever()


async def exit_with(code: int) -> None:
    os._exit(code)


async def block() -> None:
    """Neither cancellation nor SIGTERM ends this."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(3600)


@tractor.context
async def pair(ctx: tractor.Context) -> None:
    """An actor of this one's own, on its host; tells the process ids of both."""
    async with tractor.open_nursery() as nursery:
        portal = await nursery.start_actor("below", enable_modules=[__name__], start_method="subprocess")
        below = await portal.run(facts)
        await ctx.started([os.getpid(), below["pid"]])
        await trio.sleep_forever()
