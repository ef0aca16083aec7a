"""A million values to a consumer that pauses: none lost, in order, whichever way it asks for them."""

from __future__ import annotations

import time

import budget_endpoints as endpoints
import pytest
import registries

import tractor_core as tractor
from tractor_core import Limits
from tractor_core.protocol.credit import DEFAULT_WINDOW
from tractor_core.runtime.context import WINDOWS_WHERE_WAITING

MILLION = 1_000_000
MIB = 1024 * 1024


@pytest.mark.limit(120)
@pytest.mark.parametrize("scheme", ["tcp", "uds"])
@pytest.mark.parametrize("overflow", ["buffer", "block"])
async def test_a_million_values_past_a_pause(scheme: str, overflow: str) -> None:
    registry = registries.new_registry(scheme)
    async with tractor.open_nursery(registry_addrs=[registry], enable_transports=[scheme]) as nursery:
        portal = await nursery.start_actor(
            "worker", enable_modules=[endpoints.__name__], start_method="forkserver"
        )
        before = await portal.run(endpoints.peak_memory)
        async with portal.open_context(endpoints.pauses_then_counts, pause=0.5, overflow=overflow) as (
            ctx,
            _,
        ):
            async with ctx.open_stream() as stream:
                begin = time.monotonic()
                for number in range(MILLION):
                    await stream.send(number)
                sending = time.monotonic() - begin
            count, in_order, waited = await ctx.wait_for_result()
        assert (count, in_order) == (MILLION, True)
        if overflow == "block":
            # Bounded by the window while it paused, and the sender waited for it.
            assert waited <= DEFAULT_WINDOW.messages * WINDOWS_WHERE_WAITING
            assert sending >= 0.5
            assert await portal.run(endpoints.peak_memory) - before < 16 * MIB
        else:
            assert waited > DEFAULT_WINDOW.messages * WINDOWS_WHERE_WAITING
        await nursery.cancel()


@pytest.mark.limit(120)
async def test_buffering_turns_into_waiting_where_the_limit_is() -> None:
    """``allow_overruns=True`` keeps what memory was allowed for, and loses nothing beyond it."""
    registry = registries.new_registry("uds")
    limits = Limits(max_buffered=8 * MIB)
    async with tractor.open_nursery(
        registry_addrs=[registry], enable_transports=["uds"], limits=limits
    ) as nursery:
        portal = await nursery.start_actor(
            "worker", enable_modules=[endpoints.__name__], start_method="forkserver"
        )
        async with portal.open_context(endpoints.pauses_then_counts, pause=1.0, overflow="buffer") as (
            ctx,
            _,
        ):
            async with ctx.open_stream() as stream:
                for number in range(200_000):
                    await stream.send(number)
            count, in_order, waited = await ctx.wait_for_result()
        assert (count, in_order) == (200_000, True)
        assert DEFAULT_WINDOW.messages < waited < 8 * MIB // 128
        await nursery.cancel()
