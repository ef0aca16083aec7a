"""A cancel scope around an actor's block: everything ends as asked for, in order, and nothing is cut."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from slow_leavers import finish_late, leave

import tractor_core as tractor

#: What ``hold`` tells, in actors that share this process.
told: list[str] = []


@tractor.context
async def hold(ctx: tractor.Context) -> None:
    await ctx.started(None)
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(0.5)
        # Its parent still serves it while it unwinds.
        with trio.CancelScope(shield=True):
            async with tractor.find_actor("root") as root:
                told.append("alone" if root is None else await root.run(answer))


async def answer() -> str:
    return "answered"


@pytest.mark.parametrize("explicit", [True, False])
async def test_a_timeout_lets_children_unwind(explicit: bool, autojump_clock: trio.testing.MockClock) -> None:
    told.clear()
    options = {"registry_addrs": [f"mem://cancelled-{explicit}"], "start_method": "inproc"}
    options |= {"name": "root", "enable_modules": [__name__]}
    outcome: list[BaseException] = []
    with trio.move_on_after(2) as timeout:
        if explicit:
            async with tractor.open_root_actor(**options), tractor.open_nursery() as nursery:
                await _use(nursery, outcome)
        else:
            async with tractor.open_nursery(**options) as nursery:
                await _use(nursery, outcome)
    assert timeout.cancelled_caught
    assert told == ["answered"]
    # The opener waited for the end of the task over there, as it does without a timeout.
    assert [type(error) for error in outcome] == [trio.Cancelled]


async def _use(nursery: tractor.ActorNursery, outcome: list[BaseException]) -> None:
    portal = await nursery.start_actor("worker", enable_modules=[__name__])
    try:
        async with portal.open_context(hold):
            await trio.sleep_forever()
    except BaseException as error:
        outcome.append(error)
        assert told == ["answered"]
        raise


async def test_a_child_that_is_ending_by_itself_is_left_to_finish(
    registry: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """SIGTERM would meet it after its goodbyes, before its last clean-up."""
    place = tmp_path_factory.mktemp("hung-up") / "done"
    async with tractor.open_nursery(registry_addrs=[registry]) as nursery:
        portal = await nursery.start_actor("worker", enable_modules=["slow_leavers"])
        await portal.run(finish_late, place=str(place), seconds=0.7)
        with pytest.raises((tractor.ContextCancelled, tractor.TransportClosed)):
            await portal.run(leave)
        await portal.chan.wait_closed()
        await nursery.cancel()
    assert place.read_text() == "finished"
