"""What a nursery raises: a single error bare, a group only for several independent ones."""

from __future__ import annotations

from typing import NoReturn

import trio


def merged(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The group without nesting's leftovers.

    One child's death is raised by everyone who was talking to it, as one object: it counts once.
    Cancellations beside real errors are dropped, they are how the nursery stopped the rest.
    """
    _, errors = group.split(trio.Cancelled)
    if errors is None:
        # Only cancellations: one of them tells the scope they belong to as much as all of them.
        return _first_leaf(group)
    seen: set[int] = set()
    kept = _unique(errors, seen)
    assert kept is not None
    return kept


def raise_merged(group: BaseExceptionGroup[BaseException]) -> NoReturn:
    """Raise what is left of the group; where that is one error, with its own cause and context."""
    error = merged(group)
    context, suppressed = error.__context__, error.__suppress_context__
    try:
        raise error
    finally:
        # Raising it while the group is handled made the group its context.
        error.__context__, error.__suppress_context__ = context, suppressed
        del error, context


def _unique(error: BaseException, seen: set[int]) -> BaseException | None:
    """``error`` with leaves that were seen before left out; None where nothing is left."""
    if not isinstance(error, BaseExceptionGroup):
        if id(error) in seen:
            return None
        seen.add(id(error))
        return error
    kept = [left for member in error.exceptions if (left := _unique(member, seen)) is not None]
    if not kept:
        return None
    if len(kept) == 1:
        return kept[0]
    return error if len(kept) == len(error.exceptions) else error.derive(kept)


def _first_leaf(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
