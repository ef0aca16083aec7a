"""A child that did not answer the cancel of its task is not waited for a second time."""

from __future__ import annotations

import time
from pathlib import Path

import trio

import tractor_core as tractor


@tractor.context
async def block(ctx: tractor.Context, seconds: float, note: str) -> None:
    await ctx.started(None)
    # From here to the sleep nothing is read.
    Path(note).touch()
    time.sleep(seconds)


async def test_force_comes_after_one_wait_for_the_acknowledgement(tmp_path: Path) -> None:
    """It is asked all the same, for the case that it answers yet, and told by a signal at once."""
    policy = tractor.TeardownPolicy(ack=3.0)
    limits = tractor.Limits(cancel_timeout=0.1)
    asked: list[bool] = []
    note = tmp_path / "blocked"
    async with tractor.open_nursery(limits=limits, policy=policy) as nursery:
        portal = await nursery.start_actor("worker", enable_modules=[__name__])
        child = next(iter(nursery._children.values()))
        request_end = child.request_end

        async def note_answer(time_left: float) -> bool:
            answer = await request_end(time_left)
            asked.append(answer)
            return answer

        child.request_end = note_answer  # type: ignore[method-assign]
        with trio.CancelScope() as scope:
            async with portal.open_context(block, seconds=20, note=str(note)):
                while not note.exists():
                    await trio.sleep(0.01)
                scope.cancel()
        assert portal.chan.unresponsive()
        await nursery.cancel()
    # Had it been waited for, the ladder would have cut the request off before its answer.
    assert asked == [False]
