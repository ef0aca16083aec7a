"""The ssh backend against the kit, where what the kit takes for granted holds for another host."""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from tractor_core.seams import ActorProcess, SpawnBackend, SpawnRequest
from tractor_core.testing.check_spawn_backend import (
    CHECKS,
    check_descriptors,
    check_environment,
    check_nothing_left,
    check_unknown_option,
)

Check = Callable[[SpawnBackend], Awaitable[None]]

#: Descriptors lead to pipes of the other host, not to the very ones of this; and where nothing is said, an
#: actor starts in the directory of its login, not in this process's.
OTHERWISE = {check_descriptors, check_environment}


class There:
    """The backend, always sent to the test's server."""

    name = "ssh"

    def __init__(self, options: dict[str, Any]) -> None:
        self._backend: SpawnBackend = importlib.import_module("tractor_ssh").backend
        self._options = options

    async def spawn(self, request: SpawnRequest) -> ActorProcess:
        options = {**self._options, **request.options}
        return await self._backend.spawn(msgspec.structs.replace(request, options=options))


#: Each start is a login, which takes its time (seconds).
PATIENCE = 60


@pytest.mark.limit(PATIENCE)
@pytest.mark.parametrize(
    "check", [each for each in CHECKS if each not in OTHERWISE], ids=lambda check: check.__name__
)
async def test_conforms(check: Check, far: dict[str, Any]) -> None:
    await check_nothing_left(There(far["spawn_options"]), check, patience=PATIENCE)


def test_most_of_the_kit_applies() -> None:
    assert set(CHECKS) > OTHERWISE and check_unknown_option not in OTHERWISE
