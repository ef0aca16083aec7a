"""Cancelling a call whose request is so large that it goes in pieces."""

from __future__ import annotations

import pytest
import trio
import trio.testing

import tractor_core as tractor


async def sleep_forever(data: bytes) -> None:
    await trio.sleep_forever()


@pytest.mark.parametrize("turns", [0, 1, 2, 5, 20])
async def test_the_cancel_does_not_overtake_the_request(
    autojump_clock: trio.testing.MockClock, turns: int
) -> None:
    """Else it finds no task to cancel, and the task that starts after it is waited for without end."""
    async with tractor.open_nursery(
        registry_addrs=[f"mem://large-{turns}"], start_method="inproc"
    ) as nursery:
        portal = await nursery.start_actor("worker", enable_modules=[__name__])
        with trio.fail_after(60):
            async with trio.open_nursery() as callers:
                callers.start_soon(lambda: portal.run(sleep_forever, data=b"x" * 2_000_000))
                for _ in range(turns):
                    await trio.lowlevel.checkpoint()
                callers.cancel_scope.cancel()
        await portal.cancel_actor()
