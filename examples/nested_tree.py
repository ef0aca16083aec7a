"""A tree of actors, three levels deep, that adds up numbers on its way to the top.

Any actor may open a nursery and have children of its own. A parent owns them: they end before its
block does, errors travel up through it, cancellation travels down.
"""

from __future__ import annotations

import trio

import tractor_core as tractor

BRANCHES = 2
LEAVES = 3


async def square(number: int) -> int:
    """The work of a leaf."""
    return number * number


async def add_up(branch: int) -> tuple[str, dict[str, int]]:
    """The work of a branch: start leaves, ask them all at once, and hand up what they said."""
    answers: dict[str, int] = {}

    async def ask(nursery: tractor.ActorNursery, leaf: int) -> None:
        name = f"leaf-{branch}.{leaf}"
        portal = await nursery.run_in_actor(square, name=name, number=branch * LEAVES + leaf)
        answers[name] = await portal.wait_for_result()

    async with tractor.open_nursery() as nursery, trio.open_nursery() as tasks:
        for leaf in range(LEAVES):
            tasks.start_soon(ask, nursery, leaf)
    return tractor.current_actor().name, answers


async def main() -> None:
    total = 0
    async with tractor.open_nursery() as nursery:
        portals = [
            await nursery.run_in_actor(add_up, name=f"branch-{branch}", branch=branch)
            for branch in range(BRANCHES)
        ]
        print("root")
        for portal in portals:
            name, answers = await portal.wait_for_result()
            print(f"  {name}: {sum(answers.values())}")
            for leaf, value in sorted(answers.items()):
                print(f"    {leaf}: {value}")
            total += sum(answers.values())
    print("total", total)


if __name__ == "__main__":
    trio.run(main)
