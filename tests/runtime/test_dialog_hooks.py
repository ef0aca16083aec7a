"""Hooks are told of dialogs, and may refuse them."""

from __future__ import annotations

from typing import Any

import dialog_endpoints as endpoints
import pytest
import trio
import trio.testing
from hooked_trees import tree

import tractor_core as tractor
from tractor_core.errors import RemoteActorError
from tractor_core.seams import hookimpl

ENDPOINTS = "dialog_endpoints"


class Watcher:
    def __init__(self) -> None:
        self.seen: list[tuple[Any, ...]] = []

    @hookimpl
    def tractor_dialog_opened(self, context: Any) -> None:
        self.seen.append(("opened", context.side, context.cid, context.chan.aid.name))

    @hookimpl
    def tractor_dialog_closed(self, context: Any, outcome: Any) -> None:
        self.seen.append(("closed", context.side, context.cid, type(outcome).__name__))

    def take(self) -> list[tuple[Any, ...]]:
        seen, self.seen = self.seen, []
        return [(what, side, detail) for what, side, _, detail in seen]


class Guard:
    answer: bool | None = None

    @hookimpl
    def tractor_authorize(self, peer: Any, target: str) -> bool | None:
        self.asked = (peer.aid.name, target)
        if self.answer is None and target.endswith("wait_for_ever"):
            raise ValueError("cannot say")
        return self.answer


class Failing:
    @hookimpl
    def tractor_dialog_opened(self, context: Any) -> None:
        raise ValueError("a broken plugin")


async def test_hooks_are_told_of_every_dialog(autojump_clock: trio.testing.MockClock) -> None:
    watcher = Watcher()
    root = "mem://watched"
    async with tree(root, ENDPOINTS, watcher) as portal:
        watcher.take()
        await portal.run(endpoints.add, 1, 2)
        assert watcher.take() == [("opened", "parent", "worker"), ("closed", "parent", "NoneType")]
        with pytest.raises(RemoteActorError):
            await portal.run(endpoints.fail)
        assert watcher.take()[1] == ("closed", "parent", "RemoteActorError")
        async with portal.open_context(endpoints.waits_in_stream) as (context, _):
            await context.cancel()
        assert watcher.take() == [("opened", "parent", "worker"), ("closed", "parent", "ContextCancelled")]
        async with portal.open_stream_from(endpoints.endless) as stream:
            await stream.receive()
        assert watcher.take() == [("opened", "parent", "worker"), ("closed", "parent", "ContextCancelled")]
        await portal.run(endpoints.opens_there, root)
        assert watcher.take() == [
            ("opened", "parent", "worker"),
            ("opened", "child", "worker"),
            ("closed", "child", "NoneType"),
            ("closed", "parent", "NoneType"),
        ]
        await portal.run(endpoints.calls_add, root)
        assert watcher.take()[1:3] == [("opened", "child", "worker"), ("closed", "child", "NoneType")]


async def test_a_hook_may_refuse_a_call(autojump_clock: trio.testing.MockClock) -> None:
    guard = Guard()
    root = "mem://guarded"
    async with tree(root, ENDPOINTS, guard) as portal:
        assert await portal.run(endpoints.calls_add, root) == 3
        assert guard.asked == ("worker", f"{ENDPOINTS}:add")
        guard.answer = False
        with pytest.raises(RemoteActorError, match="not open to") as caught:
            await portal.run(endpoints.calls_add, root)
        assert caught.value.src_type is tractor.ModuleNotExposed
        with pytest.raises(RemoteActorError, match="not open to"):
            await portal.run(endpoints.opens_there, root)
        guard.answer = True
        assert await portal.run(endpoints.calls_add, root) == 3


async def test_a_broken_hook_harms_nobody(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with tree("mem://broken-hook", ENDPOINTS, Failing()) as portal:
        assert await portal.run(endpoints.add, 1, 2) == 3
    assert "a broken plugin" in caplog.text
