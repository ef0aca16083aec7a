"""Spawn backends by tree, by child and by environment, mixed in one tree."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import mixing_endpoints as endpoints
import pytest
import trio
from registries import METHOD_VARIABLE

import tractor_core as tractor

METHODS = ("subprocess", "forkserver", "multiprocessing")
EXPOSED = [endpoints.__name__]

pytestmark = pytest.mark.usefixtures("uses_multiprocessing")


@pytest.mark.limit(60)
async def test_every_method_below_every_other(registry: str) -> None:
    """Nine pairs of a parent's method and its child's, all in one tree at once."""
    told: dict[tuple[str, str], list[list[str]]] = {}

    async def grow(nursery: tractor.ActorNursery, upper: str, lower: str) -> None:
        portal = await nursery.start_actor(f"{upper}-{lower}", enable_modules=EXPOSED, start_method=upper)
        told[upper, lower] = await portal.run(endpoints.below, [lower])

    async with tractor.open_nursery(registry_addrs=[registry]) as nursery:
        async with trio.open_nursery() as tasks:
            for upper, lower in itertools.product(METHODS, METHODS):
                tasks.start_soon(grow, nursery, upper, lower)
        await nursery.cancel()
    assert set(told) == set(itertools.product(METHODS, METHODS))
    pids = [pid for chain in told.values() for pid, _ in chain]
    assert len(set(pids)) == len(pids) == 18
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


@pytest.mark.parametrize("method", METHODS)
async def test_the_method_of_a_tree_is_inherited_and_a_child_may_have_its_own(
    method: str, one_registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(METHOD_VARIABLE, raising=False)
    other = METHODS[METHODS.index(method) - 1]
    async with tractor.open_nursery(registry_addrs=[one_registry], start_method=method) as nursery:
        assert tractor.current_actor().start_method == method
        portal = await nursery.start_actor("top", enable_modules=EXPOSED)
        told = await portal.run(endpoints.below, [None, other])
        # Who was given a method of its own passes on that one.
        assert [default for _, default in told] == [method, method, other]
        await nursery.cancel()


@pytest.mark.parametrize("method", METHODS)
async def test_the_environment_chooses_for_the_tree_and_not_for_a_child_that_was_told(
    method: str, one_registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(METHOD_VARIABLE, method)
    async with tractor.open_nursery(registry_addrs=[one_registry], start_method="inproc") as nursery:
        portal = await nursery.start_actor("top", enable_modules=EXPOSED)
        [[pid, default]] = await portal.run(endpoints.below, [])
        assert (int(pid) != os.getpid(), default) == (True, method)
        near = await nursery.start_actor("near", enable_modules=EXPOSED, start_method="inproc")
        [[pid, default]] = await near.run(endpoints.below, [])
        assert (int(pid), default) == (os.getpid(), "inproc")
        await nursery.cancel()
