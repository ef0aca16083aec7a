"""Time limits on peers that do not count how long this actor's own loop was busy."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

_T = TypeVar("_T")

#: Turns of the loop that a handshake is left when its time is over. It takes fewer than ten, and an idle loop
#: goes through all of these in less than a millisecond.
TURNS = 20


async def in_time(step: Callable[[], Awaitable[_T]], deadline: float) -> _T:
    """``step()``, which may take until ``deadline`` (``trio.current_time()``), and then :data:`TURNS` turns.

    What a loop that computes in between finds when it comes to look has been there all the time: turns are
    what it has to be given then. ``trio.TooSlowError`` after them. ``step`` is begun again where the deadline
    interrupts it, and so must lose nothing when it is cancelled.
    """
    with trio.CancelScope(deadline=deadline):
        return await step()
    return await _in_turns(step)


async def _in_turns(step: Callable[[], Awaitable[_T]]) -> _T:
    results: list[_T] = []
    failure: Exception | None = None

    async def count() -> None:
        for _ in range(TURNS):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        try:
            results.append(await step())
        except Exception as error:
            # Raised outside of the nursery, which would wrap it in a group.
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    if not results:
        raise trio.TooSlowError
    return results[0]
