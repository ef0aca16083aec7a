"""``open_actor_cluster``: several alike actors at once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, Unpack

import trio

from tractor_core.runtime.portal import Portal
from tractor_core.runtime.state import current_actor
from tractor_core.supervision.process import cpu_count_usable

from .keywords import RootKeywords, shows_root_keywords
from .root import open_nursery

#: How many actors start at the same time, for each processor. More would not be ready any sooner, and each
#: would take so long that it runs into the time limits of its handshake.
STARTING_EACH: Final = 4


@shows_root_keywords
@asynccontextmanager
async def open_actor_cluster(
    modules: Sequence[str],
    *,
    count: int | None = None,
    names: Sequence[str] | None = None,
    hard_kill: bool = False,
    **runtime_kwargs: Unpack[RootKeywords],
) -> AsyncIterator[dict[str, Portal]]:
    """Start ``count`` actors exposing ``modules``, several at a time, and end them with the block.

    Yields their portals by name. ``count`` defaults to the number of names, or else of the processors that
    this process may use; names to ``<this actor>.worker_<i>``. ``hard_kill`` ends them by SIGKILL. The other
    keywords are for the root actor, where none runs.

    Duplicate or miscounted names are a ``ValueError``. One that does not start ends the others, and its error
    is raised.
    """
    for argument, value in (("modules", modules), ("names", names)):
        if isinstance(value, str):
            raise TypeError(f"{argument} is a list, so write {argument}=[{value!r}]")
    total = count if count is not None else (len(names) if names is not None else cpu_count_usable())
    if total < 1:
        raise ValueError(f"a cluster has at least one actor, not {total}")
    if names is not None and len(names) != total:
        raise ValueError(f"{len(names)} names were given for {total} actors")
    if names is not None and len(set(names)) != len(names):
        raise ValueError(f"names must be unique: {list(names)}")
    async with open_nursery(**runtime_kwargs) as nursery:
        given = names or [f"{current_actor().name}.worker_{index}" for index in range(total)]
        portals: dict[str, Portal] = {}
        room = trio.CapacityLimiter(STARTING_EACH * cpu_count_usable())

        async def start(name: str) -> None:
            async with room:
                portals[name] = await nursery.start_actor(name, enable_modules=modules)

        async with trio.open_nursery() as starting:
            for name in given:
                starting.start_soon(start, name)
        yield {name: portals[name] for name in given}
        await nursery.cancel(hard_kill=hard_kill)
