"""Actors that do not want to end: gone all the same, within the bounds of the ladder."""

from __future__ import annotations

import time
from collections.abc import Iterator
from multiprocessing import resource_tracker
from typing import Any

import pytest
import trio
from family import actors
from programs import endpoints
from programs.kill_matrix import alive

import tractor_core as tractor
from tractor_core.supervision.policy import TeardownPolicy

EXPOSED = [endpoints.MODULE]


async def start_busy(portal: Any, tasks: trio.Nursery, function: Any, *args: Any) -> None:
    """Have an actor do something that does not end, and wait until it does it."""
    tasks.start_soon(call, portal, function, *args)
    await trio.sleep(0.1)


async def call(portal: Any, function: Any, *args: Any) -> None:
    try:
        await portal.run(function, *args)
    except (tractor.TransportClosed, tractor.ContextCancelled):
        pass


@pytest.mark.parametrize(
    ("function", "args"),
    [
        (endpoints.block, (60,)),
        (endpoints.ignore_cancellation, ()),
        (endpoints.ignore_everything, ()),
        (endpoints.stop_self, ()),
        (endpoints.compute_without_lock, ()),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_cancel_ends_whatever_the_actor_does(
    function: Any, args: tuple[Any, ...], one_registry: str
) -> None:
    async with tractor.open_nursery(registry_addrs=[one_registry]) as an:
        portal = await an.start_actor("stubborn", enable_modules=EXPOSED)
        pid = await portal.run(endpoints.pid)
        async with trio.open_nursery() as tasks:
            await start_busy(portal, tasks, function, *args)
            with trio.fail_after(8):
                await an.cancel()
            assert not alive(pid)
            assert actors() == []


@pytest.mark.parametrize("how", ["hard kill", "own policy", "cancel_actor"])
async def test_other_ways_to_end_a_stubborn_actor(how: str, one_registry: str) -> None:
    policy = TeardownPolicy(ack=0.1, graceful=0.2, terminate=0.2) if how == "own policy" else None
    async with tractor.open_nursery(registry_addrs=[one_registry], policy=policy) as an:
        portal = await an.start_actor("stubborn", enable_modules=EXPOSED)
        pid = await portal.run(endpoints.pid)
        async with trio.open_nursery() as tasks:
            await start_busy(portal, tasks, endpoints.ignore_everything)
            with trio.fail_after(8):
                if how == "cancel_actor":
                    assert await portal.cancel_actor()
                else:
                    await an.cancel(hard_kill=how == "hard kill")
    assert not alive(pid)


@pytest.fixture
def resource_tracker_runs() -> Iterator[None]:
    """It comes with the first actor of ``multiprocessing``, and stays."""
    resource_tracker.ensure_running()
    yield
    resource_tracker._resource_tracker._stop()


async def grow(portal: Any, depth: int, behaviour: str, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
    """Have a tree of threes below the actor; hands over all its pids."""
    try:
        async with portal.open_context(endpoints.subtree, depth=depth, width=3, behaviour=behaviour) as (
            _,
            pids,
        ):
            task_status.started(pids)
            await trio.sleep_forever()
    except (tractor.TransportClosed, tractor.ContextCancelled):
        pass


@pytest.mark.limit(60)
@pytest.mark.usefixtures("resource_tracker_runs")
@pytest.mark.parametrize("method", ["subprocess", "forkserver", "multiprocessing"])
async def test_a_tree_that_ignores_everything_is_gone(method: str, free_tcp_registry: str) -> None:
    async with tractor.open_nursery(registry_addrs=[free_tcp_registry], start_method=method) as an:
        async with trio.open_nursery() as tasks:
            pids: list[int] = []
            for index in range(3):
                portal = await an.start_actor(f"top{index}", enable_modules=EXPOSED)
                pids += await tasks.start(grow, portal, 2, "ignore all")
            assert len(pids) == 3 + 9 + 27
            started = time.monotonic()
            with trio.fail_after(8):
                await an.cancel()
            print(f"a tree of {len(pids)} was gone after {time.monotonic() - started:.2f} s")
            assert not [pid for pid in pids if alive(pid)]
            assert actors() == []
