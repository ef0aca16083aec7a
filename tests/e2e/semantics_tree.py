"""The trees that the semantics scenarios run in: in memory and virtual time, or of real processes.

A scenario is an async function of a :class:`Tree`. Those that leave the worker unharmed share one
real tree, since each process costs a fifth of a second.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import semantics_endpoints as endpoints
import trio
from registries import share

import tractor_core as tractor

ENDPOINTS = "semantics_endpoints"

#: Seconds that one scenario may take on real processes.
SCENARIO_LIMIT = 20.0

#: A receiver on a crowded machine gets its turn later than a sender without credit waits by default.
PATIENT = tractor.Limits(overrun_grace=1.0)

_serial = itertools.count()


@dataclass
class Tree:
    """A root, its nursery and one daemon, ``worker``, that exposes the endpoints."""

    an: tractor.ActorNursery
    portal: tractor.Portal

    @property
    def uid(self) -> tuple[str, str]:
        """The root's."""
        return tractor.current_actor().uid

    @property
    def worker(self) -> tuple[str, str]:
        return self.portal.chan.aid.uid

    def key(self) -> str:
        """What the endpoints of one scenario note things under."""
        return f"key-{next(_serial)}"

    async def start(self, name: str) -> tractor.Portal:
        """One more actor with the same endpoints."""
        return await self.an.start_actor(name, enable_modules=[ENDPOINTS])

    async def noted(self, key: str, portal: tractor.Portal | None = None) -> list[str]:
        return await (portal or self.portal).run(endpoints.noted, key)

    async def until(self, key: str, what: str, portal: tractor.Portal | None = None) -> None:
        """Wait until an endpoint noted this."""
        while what not in await self.noted(key, portal):
            await trio.sleep(0.01)

    async def expire(self, scope: trio.CancelScope, key: str) -> None:
        """Let the scope's deadline pass once an endpoint waits."""
        await self.until(key, "waiting")
        scope.deadline = trio.current_time()


Scenario = Callable[[Tree], Awaitable[None]]


@asynccontextmanager
async def open_tree(registry: str, **options: Any) -> AsyncIterator[Tree]:
    async with tractor.open_nursery(registry_addrs=[registry], **options) as an:
        yield Tree(an, await an.start_actor("worker", enable_modules=[ENDPOINTS]))
        await an.cancel()


async def in_memory(scenario: Scenario) -> None:
    """Run a scenario in a tree of its own inside this trio run."""
    async with open_tree(f"mem://semantics-{next(_serial)}", start_method="inproc") as tree:
        await scenario(tree)
        assert await tree.portal.run(endpoints.add, 1, 2) == 3


async def on_processes(scenarios: Sequence[Scenario], registry: str) -> None:
    """Run scenarios one after the other in one tree of real processes: all, or the way's share."""
    async with open_tree(registry, limits=PATIENT) as tree:
        for scenario in share(scenarios, registry):
            try:
                with trio.fail_after(SCENARIO_LIMIT):
                    await scenario(tree)
                    assert await tree.portal.run(endpoints.add, 1, 2) == 3
            except BaseException as error:
                error.add_note(f"in {scenario.__name__} over {registry}")
                raise
