"""What the actors of the programs in this directory do. Imported by their processes by name."""

from __future__ import annotations

import os
import signal
import time

import trio

import tractor_core as tractor

MODULE = __name__


async def pid() -> int:
    return os.getpid()


async def compute() -> None:
    """In C, without ever letting the interpreter lock go."""
    3 ** (10**9)


@tractor.context
async def with_leaf(ctx: tractor.Context) -> None:
    async with tractor.open_nursery() as an:
        portal = await an.start_actor("leaf", enable_modules=[MODULE])
        await ctx.started([os.getpid(), await portal.run(pid)])
        await trio.sleep_forever()


@tractor.context
async def deaf_with_leaf(ctx: tractor.Context) -> None:
    """Acknowledge being cancelled, and then block with SIGTERM ignored and an actor below."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    async with tractor.open_nursery() as an:
        portal = await an.start_actor("leaf", enable_modules=[MODULE])
        await ctx.started([os.getpid(), await portal.run(pid)])
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.1)  # until the acknowledgement is out
                time.sleep(1000)
