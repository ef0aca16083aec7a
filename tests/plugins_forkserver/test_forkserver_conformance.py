"""The forkserver backend against the kit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from tractor_core.seams import SpawnBackend
from tractor_core.testing.check_spawn_backend import CHECKS, check_exit_codes, check_nothing_left
from tractor_forkserver import backend

Check = Callable[[SpawnBackend], Awaitable[None]]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_conforms(check: Check) -> None:
    await check_exit_codes(backend)  # has the template started, which stays
    await check_nothing_left(backend, check)
