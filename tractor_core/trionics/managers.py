"""Async context managers and nurseries: borrow one or open one, enter many at once, start safely."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Generic, TypeVar, cast

import trio

from .groups import collapse_eg

T = TypeVar("T")


@asynccontextmanager
async def maybe_open_nursery(
    nursery: trio.Nursery | None = None, shield: bool = False
) -> AsyncGenerator[trio.Nursery, None]:
    """The given nursery, which stays open afterwards, or a new one, which is waited for.

    ``shield`` shields a new nursery from cancellation from outside; a given one keeps its own
    setting. A single error of a new nursery is raised bare.
    """
    if nursery is not None:
        yield nursery
        return
    async with collapse_eg(), trio.open_nursery() as opened:
        opened.cancel_scope.shield = shield
        yield opened


async def start_or_cancel(
    nursery: trio.Nursery, async_fn: Callable[..., Awaitable[Any]], /, *args: Any, name: object = None
) -> Any:
    """``nursery.start()``, except that a start cut short by cancellation is ``trio.Cancelled``.

    A task that absorbs its cancellation and returns before it called ``task_status.started()`` makes
    trio raise ``RuntimeError``, as if the task were at fault. Here that is raised only where the
    calling task is not cancelled itself.
    """
    returned = False

    async def watched(*inner: Any, task_status: trio.TaskStatus[Any]) -> None:
        nonlocal returned
        await async_fn(*inner, task_status=task_status)
        returned = True

    complaint: RuntimeError
    try:
        return await nursery.start(watched, *args, name=async_fn if name is None else name)
    except RuntimeError as exc:
        if not returned:
            raise
        complaint = exc
    await trio.lowlevel.checkpoint_if_cancelled()
    raise complaint


class _Held(Generic[T]):
    """One manager, entered and left in a task of its own."""

    def __init__(self, manager: AbstractAsyncContextManager[T]) -> None:
        self.manager = manager
        self.scope = trio.CancelScope()
        self.release = trio.Event()
        self.begun = False
        self.done = trio.Event()
        self.value: T | None = None

    async def hold(self, task_status: trio.TaskStatus[None]) -> None:
        self.begun = True
        try:
            with self.scope:
                async with self.manager as self.value:
                    task_status.started()
                    await self.release.wait()
        finally:
            self.done.set()


@asynccontextmanager
async def gather_contexts(
    mngrs: Iterable[AbstractAsyncContextManager[T]], tn: trio.Nursery | None = None
) -> AsyncGenerator[tuple[T, ...], None]:
    """Enter all managers at the same time; yields their values in the order given.

    Each is entered and left in a task of its own, in ``tn`` where given; leaving waits until all
    are closed. When one fails to enter, the others are closed and its error is raised, bare. When the
    block ends with an error, the managers see their task cancelled, which makes those that would wait
    for something stop waiting. ``ValueError`` for no managers, and for one that is given twice.

    A manager that fails while the block runs cancels the nursery in which it is held.
    """
    held = [_Held(manager) for manager in mngrs]
    if not held:
        raise ValueError("gather_contexts() was given no managers (was the generator already used up?)")
    if len({id(each.manager) for each in held}) < len(held):
        raise ValueError("gather_contexts() was given one manager twice; each can be entered only once")
    async with maybe_open_nursery(tn) as nursery:
        try:
            async with collapse_eg(), trio.open_nursery() as starters:
                for each in held:
                    starters.start_soon(nursery.start, each.hold)
            yield tuple(cast(T, each.value) for each in held)
            for each in held:
                each.release.set()
            for each in held:
                await each.done.wait()
        except BaseException:
            for each in held:
                each.scope.cancel()
            raise
        finally:
            with trio.CancelScope(shield=True):
                for each in held:
                    if each.begun:
                        await each.done.wait()
