"""Many actors at once, and again and again: nothing piles up."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Awaitable, Callable

import pytest
import trio
from family import actors
from programs import endpoints

import tractor_core as tractor

EXPOSED = [endpoints.MODULE]


@pytest.mark.parametrize("hard_kill", [False, True])
async def test_a_cluster(hard_kill: bool, registry: str) -> None:
    async with tractor.open_actor_cluster(
        EXPOSED, count=3, hard_kill=hard_kill, registry_addrs=[registry]
    ) as portals:
        seen = {name: await portal.run(endpoints.whoami) for name, portal in portals.items()}
        assert [name for name, _ in seen.values()] == list(portals)
        pids = {pid for _, pid in seen.values()}
        assert pids == set(actors())
    assert actors() == []


async def test_a_cluster_has_an_actor_for_each_processor(registry: str) -> None:
    async with tractor.open_actor_cluster(EXPOSED, registry_addrs=[registry]) as portals:
        assert len(portals) == len(os.sched_getaffinity(0))
        assert "root.worker_0" in portals


async def test_the_start_method_of_the_environment(
    one_registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACTOR_SPAWN_METHOD", "inproc")
    async with tractor.open_nursery(registry_addrs=[one_registry], start_method="subprocess") as an:
        default = await an.start_actor("default", enable_modules=EXPOSED)
        assert await default.run(endpoints.pid) == os.getpid()
        chosen = await an.start_actor("chosen", enable_modules=EXPOSED, start_method="subprocess")
        assert await chosen.run(endpoints.pid) != os.getpid()
        await an.cancel()


@pytest.mark.limit(60)
async def test_starting_and_ending_leaves_nothing_behind(one_registry: str) -> None:
    async with tractor.open_root_actor(registry_addrs=[one_registry]):
        await rounds(2)  # what is made once and kept
        before = await settled()
        await rounds(12)
        assert await settled(before) == before


async def rounds(number: int) -> None:
    """Start and end four actors at a time, in four different ways."""
    for _ in range(number):
        async with tractor.open_nursery() as an:
            async with trio.open_nursery() as tasks:
                tasks.start_soon(start_and, an, tractor.Portal.cancel_actor)
                tasks.start_soon(start_and, an, end_self)
                tasks.start_soon(start_and, an, None)
                with trio.move_on_after(0.03):
                    await an.start_actor("never")
            await an.cancel()


async def start_and(
    an: tractor.ActorNursery, then: Callable[[tractor.Portal], Awaitable[object]] | None
) -> None:
    portal = await an.start_actor("actor", enable_modules=EXPOSED)
    if then is not None:
        await then(portal)


async def end_self(portal: tractor.Portal) -> None:
    await portal.run(endpoints.end_self)


Belongings = tuple[int, set[str], list[int]]

#: How long nothing may have changed before it is believed not to (seconds), and how long that is waited for.
QUIET, PATIENCE = 0.3, 10.0


async def settled(wanted: Belongings | None = None) -> Belongings:
    """What is held when ``wanted`` is, or else when nothing has changed for a while.

    The connection of a child that was killed while it was booting ends when its end of file is read.
    """
    found, since = held(), trio.current_time()
    give_up = since + PATIENCE
    while found != wanted and trio.current_time() < give_up:
        if wanted is None and trio.current_time() - since > QUIET:
            break
        await trio.sleep(0.02)
        if (now := held()) != found:
            found, since = now, trio.current_time()
    return found


def held() -> Belongings:
    gc.collect()
    # Trio keeps threads for a while, and those of other tests end in their own time.
    threads = {thread.name for thread in threading.enumerate() if not thread.name.startswith("Trio thread")}
    return len(os.listdir("/proc/self/fd")), threads, actors()
