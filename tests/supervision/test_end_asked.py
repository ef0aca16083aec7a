"""Whatever portal asks a child to end, its owner sees to it that it does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

import tractor_core as tractor
from tractor_core.errors import PluginError


async def stay_a_minute() -> None:
    with trio.CancelScope(shield=True):
        await trio.sleep(60)


@asynccontextmanager
async def ended_by_its_owner() -> AsyncIterator[tuple[tractor.ActorNursery, tractor.Portal]]:
    """A worker that does not go by itself; the block asks it to, and it must be cut off soon."""
    policy = tractor.TeardownPolicy(graceful=2.0)
    async with tractor.open_nursery(
        registry_addrs=["mem://asked"], start_method="inproc", policy=policy
    ) as nursery:
        portal = await nursery.start_actor("worker", enable_modules=[__name__])
        async with trio.open_nursery() as callers:
            callers.start_soon(_expect_a_break, portal)
            await trio.sleep(0.1)
            began = trio.current_time()
            yield nursery, portal
        # An actor in this process cannot be killed, but its channel is cut when force is used.
        assert trio.current_time() - began < 10


async def test_a_portal_that_was_looked_up_ends_a_child_within_the_ladder_too(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with ended_by_its_owner() as (_, portal), tractor.find_actor("worker") as found:
        assert found is not None and found is not portal
        assert await found.cancel_actor()


async def test_a_request_whose_caller_gives_up_is_out_all_the_same(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Its owner sees to the end as if the caller had waited."""
    async with ended_by_its_owner() as (nursery, portal):
        (child,) = nursery._children.values()
        with trio.CancelScope() as scope:
            scope.cancel()
            await portal.cancel_actor()
        assert scope.cancelled_caught and child.end_asked


async def _expect_a_break(portal: tractor.Portal) -> None:
    with pytest.raises(tractor.TransportClosed):
        await portal.run(stay_a_minute)


@pytest.mark.parametrize("option", ["infect_asyncio", "debug_mode"])
async def test_what_this_version_does_not_have_is_refused(
    autojump_clock: trio.testing.MockClock, option: str
) -> None:
    async with tractor.open_nursery(registry_addrs=["mem://refused"], start_method="inproc") as nursery:
        with pytest.raises(PluginError, match=option):
            await nursery.start_actor("worker", **{option: True})  # type: ignore[arg-type]
