"""A tree over ``fifo://``, started by ``posix_spawn``; argv: the registry's path."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator

import trio

import tractor_core as tractor

#: What stops its actors in good order is looked at here, not how soon: no force, however busy the machine is.
PATIENT = tractor.TeardownPolicy(ack=30.0, graceful=30.0)


async def whoami() -> tuple[str, int]:
    return tractor.current_actor().name, os.getpid()


async def count(to: int) -> AsyncIterator[int]:
    for number in range(to):
        yield number


async def ask_below() -> list[tuple[str, int]]:
    """What this actor and one that it starts itself are."""
    async with tractor.open_nursery(policy=PATIENT) as nursery:
        portal = await nursery.start_actor("leaf", enable_modules=[__name__])
        answers = [await whoami(), await portal.run(whoami)]
        await portal.cancel_actor()
    return answers


async def fail() -> None:
    raise ValueError("on purpose")


async def main() -> None:
    registry = f"fifo://{sys.argv[1]}"
    async with tractor.open_nursery(
        registry_addrs=[registry], start_method="posix_spawn", policy=PATIENT
    ) as nursery:
        portal = await nursery.start_actor("branch", enable_modules=[__name__], spawn_options={"niceness": 1})
        for name, pid in await portal.run(ask_below):
            print(name, pid != os.getpid())
        async with portal.open_stream_from(count, to=1000) as stream:
            print("streamed", sum([value async for value in stream]))
        async with tractor.find_actor("branch") as found:
            assert found is not None
            print("found over", found.channel.raddr.scheme)
        try:
            await portal.run(fail)
        except tractor.RemoteActorError as error:
            print("failed:", error.boxed_type.__name__)
        victim = await nursery.start_actor("victim", enable_modules=[__name__])
        os.kill((await victim.run(whoami))[1], 9)
    print("not reached: the death of a child is its owner's")


if __name__ == "__main__":
    try:
        trio.run(main)
    except tractor.ActorDied as error:
        print(error.exit_status)
