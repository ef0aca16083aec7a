"""Many actors at the same time: start them, call each, stream from each, end them, and count what is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import trio

import tractor_core as tractor

from . import endpoints
from .belongings import SETTLING, children, held, is_template, proportional, resident, settled, state

#: What is streamed from each actor.
STREAMED = 10

#: Told of a phase, how much of it is done, and how much there is.
Progress = Callable[[str, int, int], None]


@dataclass
class CrowdReport:
    """What it took (seconds by phase, bytes) and what it left."""

    actors: int
    seconds: dict[str, float] = field(default_factory=dict)
    memory_each: int = 0
    own_memory: int = 0
    leftovers: list[str] = field(default_factory=list)

    @property
    def broken(self) -> list[str]:
        """What should not be there any more."""
        return self.leftovers

    def __str__(self) -> str:
        lines = [
            f"{phase:>7}: {took:6.2f} s, {self.actors / took:7.0f} actors/s"
            for phase, took in self.seconds.items()
        ]
        lines.append(f"memory: {self.memory_each / 2**20:.1f} MiB for each actor, shared parts counted once;")
        lines.append(f"        {self.own_memory / 2**20:.0f} MiB more in the root")
        lines.append(f"left behind: {', '.join(self.leftovers) or 'nothing'}")
        return "\n".join(lines)


async def crowd(actors: int, registry: str, start_method: str, progress: Progress) -> CrowdReport:
    """Open a cluster of so many, work with all of it, and close it. Wrong answers are ``AssertionError``."""
    report = CrowdReport(actors)
    pids: list[int] = []
    async with tractor.open_root_actor(registry_addrs=[registry], start_method=start_method) as root:
        async with trio.open_nursery() as watching:
            await watching.start(_tell_of_registrations, root.name, actors, progress)
            await _warm_up()
            before, memory = held(), resident()
            begin = time.perf_counter()
            async with tractor.open_actor_cluster([endpoints.__name__], count=actors) as portals:
                report.seconds["spawn"] = time.perf_counter() - begin
                pids += await _work(report, list(portals.values()), progress)
                # The system counts every page: seconds for a thousand, in which this actor must answer.
                report.memory_each = await trio.to_thread.run_sync(proportional, pids) // actors
                report.own_memory = resident() - memory
                begin = time.perf_counter()
            report.seconds["cancel"] = time.perf_counter() - begin
            after = await settled(before)
            watching.cancel_scope.cancel()
        report.leftovers += [
            f"{many} {what} ({before.get(what, 0)} before)"
            for what, many in after.items()
            if many > before.get(what, 0)
        ]
    report.leftovers += [f"process {pid}" for pid in await _still_running(pids)]
    return report


async def _warm_up() -> None:
    """Have what the first actor makes and later ones share, such as the template of a forkserver."""
    async with tractor.open_nursery() as an:
        await an.start_actor("warm-up")
        await an.cancel()


async def _still_running(pids: Sequence[int]) -> list[int]:
    """Actors, and templates of theirs, that their root has outlived; a moment is theirs."""
    deadline = trio.current_time() + SETTLING
    while True:
        templates = [pid for pid in children() if is_template(pid)]
        running = [pid for pid in (*pids, *templates) if state(pid) not in "ZX"]
        if not running or trio.current_time() > deadline:
            return running
        await trio.sleep(0.02)


async def _tell_of_registrations(
    spawner: str, actors: int, progress: Progress, task_status: trio.TaskStatus[None]
) -> None:
    """Whoever is ready is registered, and whoever has ended is no more."""
    there = 0
    async with tractor.watch_actors(f"{spawner}.") as changes:
        task_status.started()
        async for event, _, _ in changes:
            there += 1 if event == "registered" else -1
            if event == "registered":
                progress("spawn", there, actors)
            else:
                progress("cancel", actors - there, actors)


async def _work(report: CrowdReport, portals: Sequence[tractor.Portal], progress: Progress) -> list[int]:
    """Call all of them at the same time, then stream from all; returns their process ids."""
    pids: list[int] = []

    async def call(portal: tractor.Portal) -> None:
        pids.append(await portal.run(endpoints.pid))
        progress("call", len(pids), len(portals))

    streamed: list[tractor.Portal] = []

    async def stream(portal: tractor.Portal) -> None:
        async with portal.open_stream_from(endpoints.numbers, stop=STREAMED) as numbers:
            assert [number async for number in numbers] == list(range(STREAMED))
        streamed.append(portal)
        progress("stream", len(streamed), len(portals))

    for what in (call, stream):
        begin = time.perf_counter()
        async with trio.open_nursery() as tasks:
            for portal in portals:
                tasks.start_soon(what, portal)
        report.seconds[what.__name__] = time.perf_counter() - begin
    assert len(set(pids)) == len(portals)
    return pids
