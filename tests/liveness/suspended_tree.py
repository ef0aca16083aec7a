"""A tree over every transport: says so when it is up, and when asked whether everybody is still there."""

from __future__ import annotations

import sys

import liveness_endpoints
import trio
from everywhere import SCHEMES, children, options

import tractor_core as tractor


async def main() -> None:
    async with tractor.open_nursery(**options()) as nursery, children(nursery) as own:
        print("up", flush=True)
        await trio.to_thread.run_sync(sys.stdin.readline)
        # Long enough for whoever holds the time of the suspension against them.
        await trio.sleep(1.5)
        for number, scheme in enumerate(SCHEMES):
            assert await own[scheme].run(liveness_endpoints.echo, number) == number
        print("kept", flush=True)


if __name__ == "__main__":
    trio.run(main)
