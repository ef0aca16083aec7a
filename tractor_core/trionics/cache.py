"""One instance of a context manager for all tasks that ask for it at the same time."""

from __future__ import annotations

import contextvars
from collections.abc import AsyncGenerator, Callable, Hashable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import MappingProxyType
from typing import Any, TypeVar

import trio

from .groups import collapse, leaves, separate

T = TypeVar("T")


class _Entry:
    """A manager held open in a task of its own, which belongs to none of its users.

    So it does not matter which user came first: neither its cancellation nor its end touches the
    others.
    """

    def __init__(self, manager: AbstractAsyncContextManager[Any]) -> None:
        self.manager = manager
        self.value: Any = None
        self.users = 0
        #: One for each user's block, cancelled when the manager ends by itself.
        self.blocks: set[trio.CancelScope] = set()
        self.entered = False
        #: The last user has left; whoever comes now waits for ``done`` and opens another.
        self.closing = False
        self.failed = False
        self.error: BaseException | None = None
        self.scope = trio.CancelScope()
        self.ready = trio.Event()
        self.release = trio.Event()
        self.done = trio.Event()

    async def hold(self, forget: Callable[[], None]) -> None:
        """Enter, hold until released, leave; errors are kept for the users."""
        try:
            with self.scope:
                async with self.manager as self.value:
                    self.entered = True
                    self.ready.set()
                    await self.release.wait()
        except BaseException as exc:
            # Whatever is no cancellation belongs to the users: a system task that raised it would
            # take the whole trio run down.
            cancelled, error = separate(exc)
            self.error = None if error is None else collapse(error)
            if cancelled is not None:
                raise cancelled from None
        finally:
            forget()
            self.failed = self.error is not None or not self.closing
            if self.failed:
                for block in self.blocks:
                    block.cancel()
            self.ready.set()
            self.done.set()

    async def leave(self, *, graceful: bool) -> None:
        """One user less; the last one waits until the manager is closed.

        After an error or a cancellation, the manager sees its task cancelled: it may be one that would
        wait for something that now never comes.
        """
        self.users -= 1
        if self.users:
            return
        self.closing = True
        if graceful:
            self.release.set()
            try:
                await self.done.wait()
                return
            except trio.Cancelled:
                self.scope.cancel()
                with trio.CancelScope(shield=True):
                    await self.done.wait()
                raise
        self.scope.cancel()
        with trio.CancelScope(shield=True):
            await self.done.wait()


#: The entries of each trio run; a run's are gone with it.
_entries: trio.lowlevel.RunVar[dict[Hashable, _Entry]] = trio.lowlevel.RunVar("maybe_open_context")


@asynccontextmanager
async def maybe_open_context(
    acm_func: Callable[..., AbstractAsyncContextManager[T]],
    kwargs: Mapping[str, Any] = MappingProxyType({}),
    key: Hashable = None,
    tn: trio.Nursery | None = None,
) -> AsyncGenerator[tuple[bool, T], None]:
    """``acm_func(**kwargs)``, opened once for all tasks of this trio run that ask for the same.

    Yields ``(cache_hit, value)``: False for the task that had it opened, True for those that share
    it. It is closed when the last user leaves, which waits for that; whoever asks meanwhile waits
    too and then has another opened.

    "The same" is the same function with the same ``key``, or with the same ``kwargs`` where no key
    is given (``TypeError`` if those cannot be hashed). The manager runs in a task of its own, with
    the context variables of the task that came first, in ``tn`` where given: if ``tn``
    is cancelled, users elsewhere get ``trio.BrokenResourceError``. An error while opening, while
    open (which cancels the users' blocks) or while closing is raised to every user there is.
    """
    entry, hit = await _join(acm_func, kwargs, key, tn)
    graceful = False
    problem: BaseException | None = None
    try:
        with trio.CancelScope() as block:
            entry.blocks.add(block)
            try:
                await entry.ready.wait()
                if entry.entered and not entry.failed:
                    yield hit, entry.value
                graceful = True
            finally:
                entry.blocks.discard(block)
    except BaseException as exc:
        problem = exc
        raise
    finally:
        await entry.leave(graceful=graceful)
        if entry.failed:
            await _raise_failure(entry, problem)


async def _join(
    acm_func: Callable[..., AbstractAsyncContextManager[Any]],
    kwargs: Mapping[str, Any],
    key: Hashable,
    tn: trio.Nursery | None,
) -> tuple[_Entry, bool]:
    try:
        cache_key = (acm_func, tuple(sorted(kwargs.items())) if key is None else key)
        hash(cache_key)
    except TypeError as exc:
        raise TypeError(
            f"maybe_open_context() cannot tell these arguments apart, give a key=: {exc}"
        ) from exc
    try:
        entries = _entries.get()
    except LookupError:
        entries = {}
        _entries.set(entries)
    while (entry := entries.get(cache_key)) is not None:
        if not entry.closing:
            entry.users += 1
            return entry, True
        await entry.done.wait()

    entry = _Entry(acm_func(**kwargs))

    def forget() -> None:
        del entries[cache_key]

    name = f"maybe_open_context({getattr(acm_func, '__qualname__', acm_func)})"
    if tn is None:
        context = contextvars.copy_context()
        trio.lowlevel.spawn_system_task(entry.hold, forget, name=name, context=context)
    else:
        tn.start_soon(entry.hold, forget, name=name)
    entries[cache_key] = entry
    entry.users = 1
    return entry, False


async def _raise_failure(entry: _Entry, problem: BaseException | None) -> None:
    """Raise why the manager ended, beside what the user's block raised by itself, if it did."""
    if entry.error is None:
        if problem is None:
            await trio.lowlevel.checkpoint_if_cancelled()
            raise trio.BrokenResourceError("the nursery in which the shared context was open is cancelled")
        return
    others = () if problem is None else leaves(problem)
    if problem is None or all(isinstance(leaf, trio.Cancelled) or leaf is entry.error for leaf in others):
        raise entry.error
    raise BaseExceptionGroup("errors in a block and in its shared context", [problem, entry.error])
