"""What every actor of a tree does: grow its part of the tree, work, and note how all of it ended."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence

import trio

import tractor_core as tractor

from . import works
from .journal import DEADLINE, journal
from .plan import ActorPlan, Work
from .stacks import show_tasks_on_signal

#: What every actor exposes.
EXPOSED = [__name__, works.__name__]

#: Seconds to wait for an actor that has not come up yet, or never will.
PATIENCE = 10.0


@tractor.context
async def live(ctx: tractor.Context, plan: ActorPlan) -> None:
    """What the parent has its new child do, until it is cancelled."""
    show_tasks_on_signal()
    actor = tractor.current_actor()
    actor.lifetime_stack.callback(journal().write, "bye", plan.name)
    journal().write("hello", plan.name, urls=tuple(address.url for address in actor.accept_addrs))
    await ctx.started()
    await grow(plan)
    await trio.sleep_forever()


async def grow(plan: ActorPlan) -> None:
    """Start the children, work when they stand or have failed to, and keep them."""
    groups = [[child] for child in plan.children] if plan.isolated else [list(plan.children)]
    async with trio.open_nursery() as tasks:
        async with trio.open_nursery() as starting:
            for group in filter(None, groups):
                starting.start_soon(tasks.start, _keep, plan.name, group)
        journal().write("standing", plan.name)
        for work in plan.works:
            tasks.start_soon(_work, plan, work)


async def _keep(
    name: str, group: Sequence[ActorPlan], task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Own actors that share a nursery; what becomes of them is noted."""
    standing = trio.Event()

    async def tell() -> None:
        await standing.wait()
        task_status.started()

    async with trio.open_nursery() as telling:
        telling.start_soon(tell)
        async with journal().noted(name, "keeping " + " ".join(child.name for child in group)):
            try:
                async with tractor.open_nursery() as an, trio.open_nursery() as tasks:
                    async with trio.open_nursery() as starting:
                        for child in group:
                            starting.start_soon(_start, an, child, tasks)
                    standing.set()
            finally:
                standing.set()


async def _start(an: tractor.ActorNursery, child: ActorPlan, tasks: trio.Nursery) -> None:
    portal = await an.start_actor(
        child.name,
        enable_modules=EXPOSED,
        enable_transports=child.schemes(),
        start_method=child.backend,
    )
    await tasks.start(_attend, portal, child)


async def _attend(portal: tractor.Portal, child: ActorPlan, task_status: trio.TaskStatus[None]) -> None:
    async with portal.open_context(live, plan=child):
        task_status.started()
        await trio.sleep_forever()


async def _work(plan: ActorPlan, work: Work) -> None:
    async with journal().noted(plan.name, f"{work.kind} {work.target}"):
        with trio.fail_after(DEADLINE):
            if work.kind == "short_lived_child":
                await _short_lived_child(plan, work.size)
            elif work.kind == "run_once_child":
                await _run_once_child(plan, work.size)
            else:
                await _with_peer(work)


class NobodyThere(Exception):
    """No actor of that name came up in time."""


async def _with_peer(work: Work) -> None:
    with trio.move_on_after(PATIENCE) as scope:
        async with tractor.wait_for_actor(work.target) as portal:
            scope.deadline = float("inf")
            await works.WITH_PORTAL[work.kind](portal, work.size)
    if scope.cancelled_caught:
        raise NobodyThere(work.target)


async def _short_lived_child(plan: ActorPlan, size: int) -> None:
    async with tractor.open_nursery() as an:
        name = f"guest-{secrets.token_hex(4)}"
        portal = await an.start_actor(name, enable_modules=EXPOSED, start_method=plan.backend)
        assert await portal.run(works.whoami) == name
        await portal.cancel_actor()


async def _run_once_child(plan: ActorPlan, size: int) -> None:
    async with tractor.open_nursery() as an:
        name = f"guest-{secrets.token_hex(4)}"
        portal = await an.run_in_actor(works.add, name=name, start_method=plan.backend, one=size, other=1)
        assert await portal.wait_for_result() == size + 1


async def whoami() -> tuple[str, int]:
    """Asked by whoever checks that survivors still answer."""
    return tractor.current_actor().name, os.getpid()
