"""What is left behind by killed actors is removed, or said to be there in one line."""

from __future__ import annotations

import errno
import logging
import os

import pytest

import tractor_core as tractor
from tractor_core.supervision.supervisor import Supervisor


@pytest.mark.parametrize(
    ("error", "traceback"),
    [(OSError(errno.EMFILE, os.strerror(errno.EMFILE)), False), (ValueError("a bug"), True)],
)
async def test_no_descriptor_for_a_look_is_one_line(
    error: Exception, traceback: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with tractor.open_root_actor(registry_addrs=["mem://tidying"]) as actor:
        transport = actor.plugins.transport("mem")

        async def tidy() -> None:
            raise error

        monkeypatch.setattr(transport, "tidy", tidy, raising=False)
        with caplog.at_level(logging.WARNING):
            await actor.room(Supervisor).tidy()
        monkeypatch.undo()
    (record,) = [record for record in caplog.records if "mem://" in record.getMessage()]
    assert bool(record.exc_info) == traceback
