"""Spawn backends of others that do not keep to the seam: whoever starts with one hears which it was."""

from __future__ import annotations

from typing import Any

import pytest
from nursery_trees import name, nursery

import tractor_core as tractor
from tractor_core.errors import PluginError

pytestmark = pytest.mark.usefixtures("autojump_clock")


class Careless:
    """A backend whose ``spawn`` gives whatever it was told to."""

    name = "careless"

    def __init__(self, given: Any) -> None:
        self.given = given

    async def spawn(self, request: object) -> Any:
        return self.given


class Plain(Careless):
    def spawn(self, request: object) -> Any:
        return self.given


class Popen:
    """As much like a process as the one of the standard library."""

    pid = 7

    def poll(self) -> None: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


@pytest.mark.parametrize(
    ("backend", "said"),
    [
        (Careless(None), "gave None, which lacks pid, wait, poll, terminate, kill"),
        (Careless(Popen()), "Popen object at .*, which lacks wait$"),
        (Plain(5), "gave 5; it must be 'async def'"),
        (Plain(None), "gave None; it must be 'async def'"),
    ],
)
async def test_a_backend_that_gives_no_process_is_named(backend: Careless, said: str) -> None:
    async with nursery() as an:
        tractor.current_actor().plugins.add_spawner(backend)
        kind = type(backend).__name__
        named = rf"^spawn backend 'careless' \(test_foreign_backends.{kind}\) is no use: .*{said}"
        with pytest.raises(PluginError, match=named):
            await an.start_actor("child", start_method="careless")
        # Nothing of it stays in the way.
        portal = await an.start_actor("child", enable_modules=["nursery_trees"])
        assert await portal.run(name) == "child"
        await an.cancel()


async def test_what_a_backend_raises_is_raised() -> None:
    class Failing(Careless):
        async def spawn(self, request: object) -> Any:
            raise self.given

    async with nursery() as an:
        tractor.current_actor().plugins.add_spawner(Failing(KeyError("no room")))
        with pytest.raises(KeyError, match="no room"):
            await an.start_actor("child", start_method="careless")
