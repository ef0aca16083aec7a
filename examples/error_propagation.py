"""An error deep in a tree, seen from the top: what it was, and the way it came.

``bottom`` raises. ``middle`` called it and does not catch what comes, so the error goes on to the
root, which does. It arrives boxed, with its remote traceback and every actor that it crossed.
"""

from __future__ import annotations

import trio

import tractor_core as tractor


class OutOfCoffee(Exception):
    """Classes of your own travel too: both sides know them."""


async def brew(cups: int) -> str:
    """Runs in ``bottom``."""
    raise OutOfCoffee(f"no beans for {cups} cups")


async def delegate(cups: int) -> str:
    """Runs in ``middle``, and has somebody else do it."""
    async with tractor.open_nursery() as nursery:
        portal = await nursery.run_in_actor(brew, name="bottom", cups=cups)
        answer: str = await portal.wait_for_result()
        return answer


async def main() -> None:
    async with tractor.open_nursery() as nursery:
        portal = await nursery.start_actor("middle", enable_modules=[__name__])
        try:
            await portal.run(delegate, cups=3)
        except tractor.RemoteActorError as error:
            print("what the last actor raised:", error.boxed_type.__name__)
            print("what the first one raised:", error.src_type.__name__)
            print("the way it came:", " -> ".join([*(name for name, _ in error.relay_path), "root"]))
            original = error.unwrap()
            print("and unwrapped:", repr(original))
            assert isinstance(original, OutOfCoffee)
            # print(error) would show the remote traceback, in a box.

        # The call failed, the actor did not: it could be called again.
        print("cancelled in good order:", await portal.cancel_actor())


if __name__ == "__main__":
    trio.run(main)
