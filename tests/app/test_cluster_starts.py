"""How a cluster starts: several actors at a time, and never all of a thousand at once."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import tractor_core as tractor
from tractor_core.app import cluster
from tractor_core.supervision.nursery import ActorNursery


async def test_as_many_start_at_a_time_as_the_processors_can_take(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    starting: list[str] = []
    seen: list[int] = []
    start_actor = ActorNursery.start_actor

    async def observed(self: ActorNursery, name: str, **options: Any) -> tractor.Portal:
        starting.append(name)
        seen.append(len(starting))
        await trio.sleep(1)
        portal = await start_actor(self, name, **options)
        starting.remove(name)
        return portal

    monkeypatch.setattr(ActorNursery, "start_actor", observed)
    monkeypatch.setattr(cluster, "cpu_count_usable", lambda: 2)
    began = trio.current_time()
    async with tractor.open_actor_cluster(
        [], count=20, registry_addrs=["mem://cluster-starts"], start_method="inproc"
    ) as portals:
        assert len(portals) == 20
        assert max(seen) == 2 * cluster.STARTING_EACH
        assert trio.current_time() - began < 20 / 2  # not one after the other
