"""The multiprocessing backend against the kit, over both kinds of sentinel."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable

import pytest

from tractor_core.seams import SpawnBackend
from tractor_core.testing.check_spawn_backend import (
    CHECKS,
    check_exit_codes,
    check_many_waiters,
    check_nothing_left,
    check_poll_reaps,
    check_terminate_and_kill,
    check_wait_cancelled,
)
from tractor_multiprocessing import backend

Check = Callable[[SpawnBackend], Awaitable[None]]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_conforms(check: Check) -> None:
    await check_nothing_left(backend, check)


@pytest.mark.parametrize(
    "check",
    [check_exit_codes, check_many_waiters, check_poll_reaps, check_wait_cancelled, check_terminate_and_kill],
)
async def test_conforms_without_pidfd(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    await check_nothing_left(backend, check)
