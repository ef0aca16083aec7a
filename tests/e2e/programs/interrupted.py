"""``python -m programs.interrupted REGISTRY HOW``: ``trio.run`` with a tree, for somebody to press Ctrl-C.

Prints a line of JSON with all pids when the tree stands, and what it saw when it ends. ``HOW`` is what the
actors do meanwhile, a key of ``endpoints.BEHAVIOURS``; ``boot`` prints before any of them is ready.
"""

from __future__ import annotations

import json
import os
import sys

import trio
from programs import endpoints

import tractor_core as tractor


async def main(registry: str, how: str) -> None:
    try:
        async with tractor.open_nursery(registry_addrs=[registry]) as an:
            if how == "boot":
                print(json.dumps([os.getpid()]), flush=True)
                async with trio.open_nursery() as tasks:
                    for index in range(4):
                        tasks.start_soon(an.start_actor, f"actor{index}")
            else:
                portal = await an.start_actor("top", enable_modules=[endpoints.MODULE])
                async with portal.open_context(endpoints.subtree, depth=1, width=2, behaviour=how) as (
                    _,
                    pids,
                ):
                    await trio.sleep(0.1)
                    print(json.dumps([os.getpid(), *pids]), flush=True)
                    await trio.sleep_forever()
    except KeyboardInterrupt:
        print("KeyboardInterrupt", flush=True)
        raise
    finally:
        print("left", flush=True)


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
