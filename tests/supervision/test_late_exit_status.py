"""A child that ends while it boots, and whose exit status comes later than the end of its channel."""

from __future__ import annotations

import pytest
import trio

import tractor_core as tractor
from tractor_core.seams import ExitStatus
from tractor_subprocess.process import SubprocessActor


async def test_the_status_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    prompt = SubprocessActor.wait

    async def late(process: SubprocessActor) -> ExitStatus:
        status = await prompt(process)
        await trio.sleep(0.3)
        return status

    monkeypatch.setattr(SubprocessActor, "wait", late)
    async with tractor.open_nursery() as nursery:
        with pytest.raises(tractor.ActorDied, match=r"'doomed'.*exit code 7"):
            await nursery.start_actor("doomed", enable_modules=["dies_at_import"])
