"""What the actors of the end-to-end tests do when asked. Imported by their processes by name."""

from __future__ import annotations

import math
import os
import signal
import time
from typing import Any

import trio
import trio.testing

import tractor_core as tractor

#: For trees with members that stop themselves: those are there to be killed by somebody else's end.
UNMOVED = tractor.TeardownPolicy(stopped=math.inf)

MODULE = __name__


async def pid() -> int:
    return os.getpid()


async def whoami() -> tuple[str, int]:
    return tractor.current_actor().name, os.getpid()


async def environment(variable: str) -> tuple[str | None, str]:
    return os.environ.get(variable), os.getcwd()


async def loglevel() -> str | None:
    return tractor.current_actor().loglevel


async def fail(message: str, after: float = 0) -> None:
    await trio.sleep(after)
    raise ValueError(message)


async def forever() -> None:
    await trio.sleep_forever()


async def touch_when_left(begun: str, path: str) -> None:
    """Make a file when called, and another when cancelled."""
    touch(begun)
    try:
        await trio.sleep_forever()
    finally:
        touch(path)


async def touch_at_the_end(path: str) -> None:
    """Make a file when the runtime ends."""
    tractor.current_actor().lifetime_stack.callback(touch, path)


def touch(path: str) -> None:
    with open(path, "w"):
        pass


# -- ways to end -----------------------------------------------------------------------------


async def exit_with(code: int) -> None:
    os._exit(code)


async def die_by(number: int) -> None:
    os.kill(os.getpid(), number)
    await trio.sleep_forever()


async def end_self() -> None:
    tractor.current_actor().cancel_soon()


async def cancel_named(target: str) -> bool:
    async with tractor.find_actor(target) as portal:
        assert portal is not None
        return await portal.cancel_actor()


# -- ways not to ----------------------------------------------------------------------------------


async def block(seconds: float) -> None:
    time.sleep(seconds)


async def compute_without_lock() -> int:
    """Spend a long time in C, which never lets the interpreter lock go."""
    return 3 ** (10**9)


async def ignore_everything() -> None:
    """Ignore SIGTERM and cancellation."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with trio.CancelScope(shield=True):
        await trio.sleep_forever()


async def ignore_cancellation() -> None:
    with trio.CancelScope(shield=True):
        await trio.sleep_forever()


async def stop_self() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


# -- trees -----------------------------------------------------------------------------------


async def nested_failure(depth: int) -> None:
    """Fail so many levels further down."""
    if depth == 0:
        raise KeyError("deep down")
    async with tractor.open_nursery(policy=UNMOVED) as an:
        await an.run_in_actor(nested_failure, name=f"level{depth}", depth=depth - 1)


@tractor.context
async def subtree(ctx: tractor.Context, depth: int, width: int, behaviour: str) -> None:
    """Grow a tree below this actor, send the pids of all of it, and then behave."""
    async with tractor.open_nursery(policy=UNMOVED) as an:
        pids = [os.getpid()]
        async with trio.open_nursery() as tasks:
            send, receive = trio.open_memory_channel[Any](width)
            if depth:
                for index in range(width):
                    tasks.start_soon(_branch, an, index, depth - 1, width, behaviour, send)
                for _ in range(width):
                    pids += await receive.receive()
            prepare(behaviour)
            await ctx.started(pids)
            await BEHAVIOURS[behaviour]()


async def _branch(
    an: tractor.ActorNursery, index: int, depth: int, width: int, behaviour: str, pids: Any
) -> None:
    portal = await an.start_actor(f"{tractor.current_actor().name}.{index}", enable_modules=[__name__])
    async with portal.open_context(subtree, depth=depth, width=width, behaviour=behaviour) as (_, first):
        await pids.send(first)


async def _block() -> None:
    await _all_written()
    time.sleep(1000)


async def _compute() -> None:
    await _all_written()
    await compute_without_lock()


async def _stop() -> None:
    await _all_written()
    await stop_self()


async def _all_written() -> None:
    """Let what was posted go out first: whatever the machine does meanwhile, those that write it have run."""
    await trio.testing.wait_all_tasks_blocked(0.05)


def prepare(behaviour: str) -> None:
    """What must be so before anybody is told that this actor stands: the next thing may be a signal."""
    if behaviour.startswith("ignore"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


async def _spawn() -> None:
    """Start and end actors, one after the other."""
    async with tractor.open_nursery(policy=UNMOVED) as an:
        while True:
            portal = await an.start_actor("brief")
            await portal.cancel_actor()


BEHAVIOURS = {
    "idle": forever,
    "block": _block,
    "compute": _compute,
    "stop": _stop,
    "ignore": forever,  # SIGTERM, by prepare()
    "ignore all": ignore_everything,
    "spawn": _spawn,
}
