"""Exception groups: unwrap those that hold one error, recognise those that hold only cancellation."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from types import TracebackType

import trio

#: Exceptions that steer control flow and are not failures: seen as the context of another error
#: they say nothing about what went wrong.
_CONTROL_FLOW = (trio.WouldBlock, StopIteration, StopAsyncIteration, GeneratorExit)


def leaves(exc: BaseException) -> Iterator[BaseException]:
    """The exceptions inside a group, however deeply nested, in order; of any other, itself."""
    if isinstance(exc, BaseExceptionGroup):
        for member in exc.exceptions:
            yield from leaves(member)
    else:
        yield exc


def separate(exc: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """The cancellation in ``exc`` and the errors in it, each None where there is none of it."""
    if isinstance(exc, BaseExceptionGroup):
        return exc.split(trio.Cancelled)
    return (exc, None) if isinstance(exc, trio.Cancelled) else (None, exc)


def collapse(exc: BaseException) -> BaseException:
    """What to raise in place of ``exc``: the one error inside it, where there is only one.

    - A group of one (and a group around it, and so on) becomes its member; so does a group whose
      leaves are all the same object.
    - ``trio.Cancelled`` beside another error is dropped: cancellation never masks an error. The scope that
      was cancelled lets the error through, as it would have let a bare one.
    - A group of nothing but ``trio.Cancelled`` becomes one of them.

    Anything else is returned as it is. Does not touch tracebacks, causes or contexts.
    """
    if not isinstance(exc, BaseExceptionGroup):
        return exc
    cancelled, errors = exc.split(trio.Cancelled)
    if errors is None:
        return next(leaves(exc))
    kept: BaseException = exc if cancelled is None else errors
    while isinstance(kept, BaseExceptionGroup) and len(kept.exceptions) == 1:
        kept = kept.exceptions[0]
    found = leaves(kept)
    first = next(found)
    return first if all(leaf is first for leaf in found) else kept


class CollapseGroups:
    """The context manager made by :func:`collapse_eg`; works with ``with`` and ``async with``."""

    # A class rather than a generator: it is entered once per dialog, and costs a third as much.

    __slots__ = ()

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not isinstance(exc, BaseExceptionGroup):
            return
        bare = collapse(exc)
        if bare is exc:
            return
        # Raising here would make the group the context of its own member: a circle for whoever
        # walks the chain, and the same error printed twice.
        context = bare.__context__
        try:
            raise bare
        finally:
            bare.__context__ = context
            del bare, exc, context  # break the circle frame -> exception -> traceback -> frame

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(exc_type, exc, traceback)


def collapse_eg() -> CollapseGroups:
    """A context manager that raises a group holding a single error as that bare error.

    For use around a nursery, ``async with collapse_eg(), trio.open_nursery() as nursery: ...``;
    the rules are those of :func:`collapse`. Never a checkpoint.
    """
    return CollapseGroups()


def is_multi_cancelled(
    exc: BaseException, *, ignore: type[BaseException] | tuple[type[BaseException], ...] = ()
) -> bool:
    """Whether this is an exception group of nothing but cancellation, however deeply nested.

    Leaves of the ``ignore`` types are passed over, but one ``trio.Cancelled`` there must be.
    """
    if not isinstance(exc, BaseExceptionGroup):
        return False
    rest = [leaf for leaf in leaves(exc) if not isinstance(leaf, ignore)]
    return bool(rest) and all(isinstance(leaf, trio.Cancelled) for leaf in rest)


def masked_by(
    exc: BaseException, unmask_from: type[BaseException] | tuple[type[BaseException], ...] = trio.Cancelled
) -> BaseException | None:
    """The error that was being handled when ``exc``, of a type in ``unmask_from``, took its place.

    Follows ``__context__`` through further exceptions of those types. None where nothing is
    masked, or where ``raise ... from ...`` says that the replacement was meant.
    """
    seen: set[int] = set()
    current: BaseException | None = exc
    while current is not None and isinstance(current, unmask_from) and id(current) not in seen:
        seen.add(id(current))
        if current.__suppress_context__:
            return None
        current = current.__context__
    if current is None or id(current) in seen or isinstance(current, _CONTROL_FLOW):
        return None
    return current


@asynccontextmanager
async def maybe_raise_from_masking_exc(
    *,
    unmask_from: type[BaseException] | tuple[type[BaseException], ...] = trio.Cancelled,
) -> AsyncGenerator[None, None]:
    """Raise the error that a checkpoint in its cleanup has masked.

    In a cancelled scope, an ``await`` inside ``finally:`` raises ``trio.Cancelled`` in place of
    the error that was on its way. Where the block ends with an exception of an ``unmask_from``
    type whose context is another error, that error is raised instead, with the masking one as its
    last note. Python does not tell an error on its way from one that an ``except`` block is
    handling: do not use this around code that awaits while it handles an error it will swallow.
    An error that was being handled where this was entered is never raised.
    """
    handled_outside = sys.exception()
    try:
        yield
    except unmask_from as exc:
        masked = masked_by(exc, unmask_from)
        if masked is None or masked is handled_outside:
            raise
        masked.add_note(f"(was masked by {type(exc).__name__} raised in its cleanup)")
        context = masked.__context__
        try:
            raise masked
        finally:
            masked.__context__ = context
            del masked, context
