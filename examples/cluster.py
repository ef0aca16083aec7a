"""Several alike actors at once: shake pi out of a box of random numbers, on every core.

``open_actor_cluster()`` starts them concurrently and ends them with the block.
"""

from __future__ import annotations

import math
import random

import trio

import tractor_core as tractor

THROWS = 200_000


async def throw_darts(throws: int, seed: int) -> int:
    """How many of so many random points of a square are in the circle."""
    dice = random.Random(seed)
    return sum(1 for _ in range(throws) if math.hypot(dice.random(), dice.random()) <= 1.0)


async def main() -> None:
    hits: dict[str, int] = {}

    async def ask(name: str, portal: tractor.Portal, seed: int) -> None:
        hits[name] = await portal.run(throw_darts, throws=THROWS, seed=seed)

    async with tractor.open_actor_cluster([__name__], names=["north", "east", "south", "west"]) as portals:
        async with trio.open_nursery() as tasks:
            for seed, (name, portal) in enumerate(portals.items()):
                tasks.start_soon(ask, name, portal, seed)

    for name in portals:
        print(f"{name:<6} {hits[name]} of {THROWS}")
    pi = 4 * sum(hits.values()) / (THROWS * len(hits))
    print(f"pi is about {pi:.3f}")


if __name__ == "__main__":
    trio.run(main)
