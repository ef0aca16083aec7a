"""A program with a tree of four processes: a root, a middle, and two leaves below it.

``python -m programs.tree REGISTRY VICTIM BEHAVIOUR METHOD`` prints the pids, root first, as one line of JSON
once the tree stands and those below VICTIM (``root``, its ``template``, or ``middle``; the leaves themselves
otherwise) behave. With nothing but REGISTRY it only becomes the registrar there, and ends.
"""

from __future__ import annotations

import json
import os
import sys

import trio
from programs import endpoints

import tractor_core as tractor


@tractor.context
async def middle(ctx: tractor.Context, leaf_behaviour: str, behaviour: str) -> None:
    pids = [os.getpid()]
    async with tractor.open_nursery(policy=endpoints.UNMOVED) as an:
        async with trio.open_nursery() as tasks:
            for index in range(2):
                portal = await an.start_actor(f"leaf{index}", enable_modules=[endpoints.MODULE])
                pids += await tasks.start(leaf, portal, leaf_behaviour)
            endpoints.prepare(behaviour)
            await ctx.started(pids)
            await endpoints.BEHAVIOURS[behaviour]()


async def leaf(portal: tractor.Portal, behaviour: str, task_status: trio.TaskStatus[list[int]]) -> None:
    async with portal.open_context(endpoints.subtree, depth=0, width=0, behaviour=behaviour) as (_, pids):
        task_status.started(pids)
        await trio.sleep_forever()


async def main(registry: str, victim: str, behaviour: str, method: str) -> None:
    async with tractor.open_nursery(
        registry_addrs=[registry], start_method=method, policy=endpoints.UNMOVED
    ) as an:
        portal = await an.start_actor("middle", enable_modules=[__name__, "programs.tree"])
        async with portal.open_context(
            middle,
            leaf_behaviour=behaviour,
            behaviour=behaviour if victim in ("root", "template") else "idle",
        ) as (_, pids):
            # Time for all of them to begin to behave.
            await trio.sleep(0.15)
            print(json.dumps([os.getpid(), *pids]), flush=True)
            await trio.sleep_forever()


async def start_and_end(registry: str) -> None:
    async with tractor.open_root_actor(registry_addrs=[registry], ensure_registry=True):
        pass


if __name__ == "__main__":
    trio.run(main if sys.argv[2:] else start_and_end, *sys.argv[1:])
