"""The curves themselves: put so much there, measure beside it, put more."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from statistics import median
from uuid import uuid4

import trio

import tractor_core as tractor
from tractor_core.discovery.link import RegistryLink
from tractor_core.msg.types import Aid

from . import endpoints
from .actors import Actors
from .processes import private_bytes
from .raw import Raw

#: By label, the points of one line from left to right.
Points = dict[str, list[tuple[float, float]]]

_BACKEND = "forkserver"
#: Of one point: turns, and calls in each.
_TURNS, _CALLS = 30, 60
_LOOKUPS = 50
#: Bytes of one point of the stream's curve, and the most values.
_STREAMED, _VALUES = 64 * 1024 * 1024, 20_000


class Curves:
    """Each method measures at all its points, and clears away after the last."""

    def __init__(self, actors: Actors, raw: Raw, repeat: float) -> None:
        self._actors = actors
        self._raw = raw
        self._repeat = repeat

    async def dialogs(self, points: Sequence[int]) -> Points:
        """A call, with so many contexts open on its channel that do nothing."""
        found: Points = {"call": [], "raw trio": [], "ratio": []}
        async with trio.open_nursery() as nursery:
            there = 0
            for point in points:
                for _ in range(point - there):
                    await nursery.start(self._hold_context)
                there = point
                await self._call(found, point)
            nursery.cancel_scope.cancel()
        return found

    async def _hold_context(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with self._actors.portal.open_context(endpoints.idle):
            task_status.started()
            await trio.sleep_forever()

    async def channels(self, points: Sequence[int]) -> Points:
        """A call, with so many other channels between the same two actors."""
        found: Points = {"call": [], "raw trio": [], "ratio": []}
        async with tractor.query_actor("benchmarked") as (address, _):
            assert address is not None
        async with AsyncExitStack() as stack:
            there = 0
            for point in points:
                for _ in range(point - there):
                    await stack.enter_async_context(tractor.open_portal(address))
                there = point
                await self._call(found, point)
        return found

    async def names(self, points: Sequence[int]) -> Points:
        """A call and a look-up, with so many names in the registry."""
        found: Points = {"call": [], "raw trio": [], "ratio": [], "look-up": []}
        registrar = tractor.current_actor().room(RegistryLink).local
        assert registrar is not None
        registered: list[str] = []
        for point in points:
            while len(registered) < point:
                aid = Aid(name=f"name {len(registered)}", uuid=uuid4().hex, pid=0)
                registrar.register(aid, ["tcp://127.0.0.1:9"], None)
                registered.append(aid.uuid)
            await self._call(found, point)
            found["look-up"].append((point, await self._look_up()))
        for uuid in registered:
            registrar.unregister(uuid)
        return found

    async def _look_up(self) -> float:
        """Microseconds of a look-up that finds nobody."""
        taken = []
        for _ in range(_LOOKUPS):
            begin = time.perf_counter()
            await self._actors.portal.run(endpoints.look_up, name="nobody")
            taken.append((time.perf_counter() - begin) * 1e6)
        return median(taken)

    async def _call(self, found: Points, at: int) -> None:
        """Ours and the floor in turn."""
        turns = []
        for _ in range(max(2, round(_TURNS * self._repeat))):
            ours, raw = await self._actors.rpc(_CALLS), await self._raw.rpc(_CALLS)
            turns.append((ours / _CALLS * 1e6, raw / _CALLS * 1e6))
        found["call"].append((at, median(ours for ours, _ in turns)))
        found["raw trio"].append((at, median(raw for _, raw in turns)))
        found["ratio"].append((at, median(ours / raw for ours, raw in turns)))

    async def actors(self, points: Sequence[int]) -> Points:
        """Starting one more actor, and the memory of all that there are."""
        found: Points = {"spawn": [], "memory": []}
        await self._actors.spawn(1, start_method=_BACKEND)  # and the template is there
        async with tractor.open_nursery() as nursery:
            portals: list[tractor.Portal] = []
            seconds: list[float] = []
            for point in points:
                while len(portals) < point:
                    begin = time.perf_counter()
                    portals.append(
                        await nursery.start_actor(
                            "spawned",
                            enable_modules=[endpoints.__name__],
                            start_method=_BACKEND,
                            inherit_parent_main=False,
                        )
                    )
                    seconds.append(time.perf_counter() - begin)
                found["spawn"].append((point, median(seconds[-max(1, point // 4) :]) * 1e3))
                # The kernel walks all of their pages for that: not here, or they would all wait for us.
                held = await trio.to_thread.run_sync(_held, [portal.chan.aid.pid for portal in portals])
                found["memory"].append((point, held / 1e6))
            await nursery.cancel()
        return found

    async def sizes(self, points: Sequence[int]) -> Points:
        """The rate of values of so many bytes, one way."""
        found: Points = {"stream": [], "raw trio": []}
        for point in points:
            count = max(4, min(_VALUES, round(_STREAMED * self._repeat) // point))
            turns = [
                (await self._actors.one_way(count, size=point), await self._raw.one_way(count, size=point))
                for _ in range(3)
            ]
            megabytes = count * point / 1e6
            found["stream"].append((point, median(megabytes / ours for ours, _ in turns)))
            found["raw trio"].append((point, median(megabytes / raw for _, raw in turns)))
        return found

    async def width(self, points: Sequence[int]) -> Points:
        """Ending so many actors side by side."""
        return {"tear-down": [(point, await _tear_down(point, 1)) for point in points]}

    async def depth(self, points: Sequence[int]) -> Points:
        """Ending a chain of so many actors."""
        return {"tear-down": [(point, await _tear_down(1, point)) for point in points]}


def _held(pids: Sequence[int]) -> int:
    return sum(map(private_bytes, pids))


async def _tear_down(width: int, depth: int) -> float:
    """Milliseconds from the cancel of a tree until all of it is gone; the median of three."""
    taken = []
    for _ in range(3):
        async with tractor.open_nursery() as nursery:
            async with endpoints.open_below(nursery, width, depth, _BACKEND):
                begin = time.perf_counter()
                await nursery.cancel()
        taken.append((time.perf_counter() - begin) * 1e3)
    return median(taken)
