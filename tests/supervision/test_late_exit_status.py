"""A child whose exit status comes later than the end of its channel: it explains that end all the same."""

from __future__ import annotations

import os

import pytest
import trio

import tractor_core as tractor
from tractor_core.seams import ExitStatus
from tractor_subprocess.process import SubprocessActor


@pytest.fixture(autouse=True)
def late_status(monkeypatch: pytest.MonkeyPatch) -> None:
    prompt = SubprocessActor.wait

    async def late(process: SubprocessActor) -> ExitStatus:
        status = await prompt(process)
        await trio.sleep(0.3)
        return status

    monkeypatch.setattr(SubprocessActor, "wait", late)
    # On a busy machine, what is to be late by 0.3 s is later.
    monkeypatch.setattr("tractor_core.supervision.child.ENDING_TIMEOUT", 10.0)


async def test_of_one_that_ends_while_it_boots() -> None:
    async with tractor.open_nursery() as nursery:
        with pytest.raises(tractor.ActorDied, match=r"'doomed'.*exit code 7"):
            await nursery.start_actor("doomed", enable_modules=["dies_at_import"])


async def leave(code: int) -> None:
    os._exit(code)


async def test_of_one_that_was_called() -> None:
    with pytest.raises(tractor.ActorDied, match=r"'doomed'.*exit code 7"):
        async with tractor.open_nursery() as nursery:
            portal = await nursery.start_actor("doomed", enable_modules=[__name__])
            with pytest.raises(tractor.ActorDied, match=r"'doomed'.*exit code 7"):
                await portal.run(leave, 7)
            await trio.sleep_forever()


async def test_of_a_run_once_actor() -> None:
    with pytest.raises(tractor.ActorDied, match=r"'doomed'.*exit code 7"):
        async with tractor.open_nursery() as nursery:
            await nursery.run_in_actor(leave, name="doomed", code=7)
