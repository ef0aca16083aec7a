"""The root of one tree: a program of its own, so that it can be killed.

``python -m chaos.program PLAN REGISTRY [KEY]`` with the plan's file, until its standard input ends;
``python -m chaos.program - REGISTRY [KEY]`` only becomes the registrar there, and ends.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections import Counter
from pathlib import Path

import msgspec
import trio

import tractor_core as tractor

from . import actors, processes
from .journal import journal
from .plan import Plan
from .stacks import show_tasks_on_signal

#: Seconds that what the children left may take to be closed, and clients to look away.
SETTLING = 5.0


async def main(plan: Plan, registry: str, key: str | None) -> None:
    show_tasks_on_signal()
    async with tractor.open_root_actor(
        registry_addrs=[registry],
        enable_transports=plan.root.schemes(),
        start_method=plan.root.backend,
        enable_modules=actors.EXPOSED,
        auth_key=key,
        ensure_registry=True,
    ) as root:
        root.lifetime_stack.callback(journal().write, "bye", "root")
        journal().write("hello", "root", urls=tuple(address.url for address in root.accept_addrs))
        before = held()
        try:
            async with trio.open_nursery() as tasks:
                tasks.start_soon(actors.grow, plan.root)
                await end_of_input()
                tasks.cancel_scope.cancel()
        finally:
            # Also when SIGTERM has cancelled it.
            with trio.CancelScope(shield=True):
                journal().write("held", "root", text=await settled(root, before))


async def end_of_input() -> None:
    """Wait until who started this program lets go of it, or is gone."""
    await trio.lowlevel.wait_readable(sys.stdin.fileno())


async def settled(root: tractor.Actor, before: dict[str, int]) -> str:
    """What there is more of than before, once it had time to go."""
    deadline = trio.current_time() + SETTLING
    while True:
        gc.collect()
        after = held()
        more = {what: f"{before.get(what, 0)} -> {many}" for what, many in after.items()}
        more = {what: text for what, text in more.items() if after[what] > before.get(what, 0)}
        if not more:
            return ""
        if trio.current_time() > deadline:
            peers = sorted(channel.aid.name for found in root.peers.values() for channel in found)
            counts = ", ".join(f"{what}: {text}" for what, text in more.items())
            return f"{counts} (connected: {', '.join(peers) or 'nobody'})"
        await trio.sleep(0.05)


def held() -> dict[str, int]:
    """Descriptors, threads and children of this process, by kind.

    Without the template of a forkserver and the tracker that ``multiprocessing`` starts, which serve until
    the program ends, and without the one descriptor that leads to each.
    """
    counts: Counter[str] = Counter()
    for number in os.listdir("/proc/self/fd"):
        try:
            counts[os.readlink(f"/proc/self/fd/{number}").partition(":")[0]] += 1
        except FileNotFoundError:
            continue  # the one that listed the directory
    # Trio keeps its worker threads for a while; they end in their own time.
    counts["thread"] = sum(not thread.name.startswith("Trio thread") for thread in threading.enumerate())
    for child in map(processes.command, processes.children(os.getpid())):
        if "tractor_forkserver" in child:
            counts["socket"] -= 1
        elif "resource_tracker" in child:
            counts["pipe"] -= 1
        else:
            counts["child"] += 1
    return dict(counts)


async def only_start(registry: str, key: str | None) -> None:
    """Raises what keeps the next tree from starting where one has ended; clears what that left if killed."""
    schemes = dict.fromkeys([registry.partition(":")[0], "uds", "zmq+ipc"])
    async with tractor.open_root_actor(
        registry_addrs=[registry], enable_transports=list(schemes), auth_key=key, ensure_registry=True
    ):
        pass


if __name__ == "__main__":
    where, registry, *rest = sys.argv[1:]
    key = rest[0] if rest else None
    if where == "-":
        trio.run(only_start, registry, key)
    else:
        trio.run(main, msgspec.json.decode(Path(where).read_bytes(), type=Plan), registry, key)
