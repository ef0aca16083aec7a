"""Calls that share a task, one after the other, know nothing of each other."""

from __future__ import annotations

import gc
import weakref
from contextvars import ContextVar
from typing import Any

import pytest
import trio
import trio.testing
from hooked_trees import tree

import tractor_core as tractor
from tractor_core.msg import types as m
from tractor_core.runtime import workers
from tractor_core.seams import hookimpl

VARIABLE: ContextVar[str] = ContextVar("VARIABLE", default="untouched")

HELD: ContextVar[object] = ContextVar("HELD")

#: What :func:`hold` has set.
SET: weakref.WeakSet[type] = weakref.WeakSet()


async def hold() -> None:
    """Set a context variable to what nothing else refers to."""
    value = type("Value", (), {})
    HELD.set(value)
    SET.add(value)


#: Every task that one of these functions ran in; kept, so that no other has its identity.
TASKS: list[trio.lowlevel.Task] = []


async def which_task() -> int:
    """A number of the task that this runs in."""
    task = trio.lowlevel.current_task()
    if task not in TASKS:
        TASKS.append(task)
    return TASKS.index(task)


async def task_name() -> str:
    return trio.lowlevel.current_task().name


async def set_variable(value: str) -> str:
    """What it was before."""
    before = VARIABLE.get()
    VARIABLE.set(value)
    await trio.lowlevel.checkpoint()
    assert VARIABLE.get() == value
    return before


async def fail() -> None:
    raise ValueError("as it should")


async def nap(seconds: float) -> int:
    """The same, later."""
    await trio.sleep(seconds)
    return await which_task()


async def leave_a_scope_open() -> None:
    trio.move_on_after(1).__enter__()


async def test_one_task_runs_one_call_after_the_other(autojump_clock: trio.testing.MockClock) -> None:
    async with tree("mem://reused", __name__) as portal:
        assert await portal.run(which_task) == await portal.run(nap, 1) == await portal.run(which_task)


async def test_a_call_sees_no_context_variable_of_another(autojump_clock: trio.testing.MockClock) -> None:
    async with tree("mem://variables", __name__) as portal:
        assert [await portal.run(set_variable, text) for text in "abc"] == ["untouched"] * 3


async def test_what_a_call_has_set_is_gone_with_it(autojump_clock: trio.testing.MockClock) -> None:
    async with tree("mem://held", __name__) as portal:
        await portal.run(hold)
        await trio.testing.wait_all_tasks_blocked()
        gc.collect()
        assert not SET


async def test_the_task_is_named_by_what_it_runs(autojump_clock: trio.testing.MockClock) -> None:
    async with tree("mem://names", __name__) as portal:
        await portal.run(which_task)
        assert await portal.run(task_name) == f"{__name__}:task_name"


async def test_an_open_scope_is_its_calls_error_and_cancels_no_other(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with tree("mem://open-scope", __name__) as portal:
        with pytest.raises(tractor.RemoteActorError, match="stack corrupted"):
            await portal.run(leave_a_scope_open)
        await portal.run(nap, 5)


async def test_a_cancelled_call_takes_no_other_with_it(autojump_clock: trio.testing.MockClock) -> None:
    async with tree("mem://cancelled", __name__) as portal:
        with trio.move_on_after(1) as scope:
            await portal.run(nap, 5)
        assert scope.cancelled_caught
        await portal.run(nap, 5)


async def test_a_call_cancelled_before_its_first_step_takes_no_other_with_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with tree("mem://at-once", __name__) as portal:
        before = await portal.run(which_task)
        cid = portal.chan.new_cid()
        arguments: Any = ((5,), {})
        portal.chan.post(m.Start(cid, f"{__name__}:nap", "asyncfunc", *arguments), lazy=True)
        portal.chan.post(m.Cancel(cid, tractor.current_actor().uid), lazy=True)
        await portal.run(nap, 5)
        assert await portal.run(which_task) != before


async def test_a_failed_call_takes_no_other_with_it(autojump_clock: trio.testing.MockClock) -> None:
    async with tree("mem://failed", __name__) as portal:
        for _ in range(3):
            with pytest.raises(tractor.RemoteActorError, match="as it should"):
                await portal.run(fail)
            await portal.run(nap, 1)


async def test_no_more_tasks_are_kept_than_a_burst_needs(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "KEPT", 3)
    async with tree("mem://kept", __name__) as portal:
        first, second = await burst(portal, 8), await burst(portal, 8)
        assert len(first) == len(second) == 8
        assert len(first & second) == 3


async def test_where_trio_says_nothing_of_scopes_no_task_runs_two_calls(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_innermost_scope", lambda task: None)
    async with tree("mem://silent", __name__) as portal:
        assert not await burst(portal, 2) & await burst(portal, 2)


class Bounding:
    """Bounds each call that is served, and keeps its scope."""

    scope: trio.CancelScope

    @hookimpl
    def tractor_dialog_opened(self, context: Any) -> None:
        if context.side == "child":
            self.scope = context.scope
            self.scope.deadline = trio.current_time() + 3


async def test_what_a_hook_does_to_a_call_concerns_no_other(autojump_clock: trio.testing.MockClock) -> None:
    bounding = Bounding()
    async with tree("mem://bounded", __name__, bounding), tractor.open_portal("mem://bounded") as own:
        first = await own.run(which_task)
        late = bounding.scope
        await trio.sleep(5)
        assert await own.run(nap, 2) != first
        async with trio.open_nursery() as nursery:
            nursery.start_soon(own.run, nap, 2)
            await trio.sleep(1)
            late.cancel()
        with pytest.raises(tractor.ContextCancelled):
            await own.run(nap, 4)


async def burst(portal: tractor.Portal, callers: int) -> set[int]:
    """The tasks that so many calls at a time ran in."""
    tasks: set[int] = set()

    async def call() -> None:
        tasks.add(await portal.run(nap, 1))

    async with trio.open_nursery() as nursery:
        for _ in range(callers):
            nursery.start_soon(call)
    return tasks
