"""Several trees in one trio run: each root in a task tree of its own, as if it were another program."""

from __future__ import annotations

import contextvars
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import trio

import tractor_core as tractor

T = TypeVar("T")


class OtherRoot:
    """A root actor that is not this task's. :meth:`run` runs code as its program would."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.actor: tractor.Actor = None  # type: ignore[assignment]
        self.context = contextvars.Context()
        self._nursery = nursery
        self._end = trio.Event()
        self.ready = trio.Event()
        self.ended = trio.Event()

    async def live(self, options: dict[str, Any]) -> None:
        try:
            async with tractor.open_root_actor(**options) as self.actor:
                self.context = contextvars.copy_context()
                self.ready.set()
                await self._end.wait()
        finally:
            self.ended.set()

    async def run(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Call ``fn`` in that root's task tree; its error is raised here."""
        outcome: list[Any] = []
        done = trio.Event()

        async def task() -> None:
            try:
                outcome.append(await fn(*args))
            except Exception as error:
                outcome.append(error)
            finally:
                done.set()

        self.context.run(self._nursery.start_soon, task)
        await done.wait()
        if isinstance(outcome[0], Exception):
            raise outcome[0]
        return outcome[0]

    async def close(self) -> None:
        """End it and wait until it has."""
        self._end.set()
        await self.ended.wait()


@asynccontextmanager
async def other_root(**options: Any) -> AsyncIterator[OtherRoot]:
    """A root elsewhere, until the block ends or it is closed; what keeps it from starting is raised."""
    try:
        async with trio.open_nursery() as nursery:
            other = OtherRoot(nursery)
            contextvars.Context().run(nursery.start_soon, other.live, options)
            await other.ready.wait()
            yield other
            other._end.set()
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        raise error from error.__cause__  # of its own, not the group
