"""Parking a task until the reader reschedules it: cheaper than an event or a memory channel."""

from __future__ import annotations

from typing import Any

import trio


class Slot:
    """Room for one waiting task. ``unpark`` when nobody waits is forgotten: check, then park."""

    __slots__ = ("_task",)

    def __init__(self) -> None:
        self._task: trio.lowlevel.Task | None = None

    @property
    def taken(self) -> bool:
        return self._task is not None

    async def park(self) -> None:
        """Wait for ``unpark``; ``trio.BusyResourceError`` when another task waits here."""
        if self._task is not None:
            raise trio.BusyResourceError("another task is waiting here")
        self._task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._abort)

    def _abort(self, _: Any) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED

    def unpark(self) -> None:
        """Let the waiting task go on, if there is one."""
        task = self._task
        if task is not None:
            self._task = None
            trio.lowlevel.reschedule(task)
