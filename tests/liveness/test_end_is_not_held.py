"""An actor's end waits for nobody who is none of its children."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import liveness_endpoints as endpoints
import pytest
import trio
import trio.testing

import tractor_core as tractor
from tractor_core.runtime.call import FOREIGN_GRACE

HERE, THERE = "mem://held", "mem://stranger"


async def stranger(*, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
    """A root of its own, which nobody here may end."""
    endpoints.Hold.released = trio.Event()
    with trio.CancelScope() as scope:
        async with tractor.open_root_actor(
            name="stranger", registry_addrs=[THERE], enable_modules=[endpoints.__name__]
        ):
            task_status.started(scope)
            await trio.sleep_forever()


async def call_for_a_second(portal: tractor.Portal) -> None:
    with trio.move_on_after(1):
        await portal.run(endpoints.never_end)


async def open_for_a_second(portal: tractor.Portal) -> None:
    with trio.move_on_after(1):
        async with portal.open_context(endpoints.never_leave):
            await trio.sleep_forever()


async def end_later(actor: tractor.Actor, seconds: float) -> None:
    await trio.sleep(seconds)
    actor.cancel_soon()


@pytest.mark.parametrize("use", [call_for_a_second, open_for_a_second])
@pytest.mark.parametrize("ended_at", [0.5, 20.0])
async def test_a_cancel_that_a_stranger_took_does_not_hold_the_end(
    autojump_clock: trio.testing.MockClock, use: Callable[[tractor.Portal], Awaitable[None]], ended_at: float
) -> None:
    """Whether the end comes before the wait or in the middle of it."""
    async with trio.open_nursery() as nursery:
        scope = await nursery.start(stranger)
        begun = trio.current_time()
        async with tractor.open_root_actor(name="here", registry_addrs=[HERE]) as actor:
            nursery.start_soon(end_later, actor, ended_at)
            async with tractor.open_portal(THERE) as portal:
                await use(portal)
                await trio.sleep_forever()
        assert trio.current_time() - begun <= ended_at + FOREIGN_GRACE + 1.0
        scope.cancel()
        # What it does with the task is its own affair; this test must end, though.
        endpoints.Hold.released.set()


async def test_until_then_the_outcome_is_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        scope = await nursery.start(stranger)
        async with tractor.open_root_actor(name="here", registry_addrs=[HERE]):
            async with tractor.open_portal(THERE) as portal:
                begun = trio.current_time()
                with trio.move_on_after(1):
                    await portal.run(endpoints.end_slowly, 30)
                assert trio.current_time() - begun == pytest.approx(30, abs=0.1)
        scope.cancel()
