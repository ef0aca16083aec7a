"""Many actors at once, and again and again: nothing piles up."""

from __future__ import annotations

import gc
import os
import threading

import pytest
import trio
from programs import endpoints
from programs.kill_matrix import children

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
        assert pids == set(children())
    assert children() == []


async def test_a_cluster_has_an_actor_for_each_processor(registry: str) -> None:
    async with tractor.open_actor_cluster(EXPOSED, registry_addrs=[registry]) as portals:
        assert len(portals) == len(os.sched_getaffinity(0))
        assert "root.worker_0" in portals


async def test_the_start_method_of_the_environment(
    free_tcp_registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACTOR_SPAWN_METHOD", "inproc")
    async with tractor.open_nursery(registry_addrs=[free_tcp_registry], start_method="subprocess") as an:
        default = await an.start_actor("default", enable_modules=EXPOSED)
        assert await default.run(endpoints.pid) == os.getpid()
        chosen = await an.start_actor("chosen", enable_modules=EXPOSED, start_method="subprocess")
        assert await chosen.run(endpoints.pid) != os.getpid()
        await an.cancel()


@pytest.mark.limit(60)
async def test_starting_and_ending_leaves_nothing_behind(free_tcp_registry: str) -> None:
    async with tractor.open_root_actor(registry_addrs=[free_tcp_registry]):
        await rounds(2)  # what is made once and kept
        before = held()
        await rounds(12)
        assert held() == before


async def rounds(number: int) -> None:
    """Start and end four actors at a time, in four different ways."""
    for _ in range(number):
        async with tractor.open_nursery() as an:
            portals: dict[str, tractor.Portal] = {}

            async def start(name: str) -> None:
                portals[name] = await an.start_actor(name, enable_modules=EXPOSED)

            async with trio.open_nursery() as tasks:
                for name in ("asked", "self", "nursery"):
                    tasks.start_soon(start, name)
                with trio.move_on_after(0.03):
                    await an.start_actor("never")
            await portals["asked"].cancel_actor()
            await portals["self"].run(endpoints.end_self)
            await an.cancel()


def held() -> tuple[int, set[str], list[int]]:
    gc.collect()
    threads = {thread.name for thread in threading.enumerate()}
    return len(os.listdir("/proc/self/fd")), threads, children()
