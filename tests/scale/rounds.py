"""Starting and ending actors, one after the other, again and again: nothing may pile up."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import trio

import tractor_core as tractor

from . import endpoints
from .belongings import children, held, is_template, resident, settled
from .crowd import Progress

#: How the actors of ten rounds are started: mostly in the way that is quick.
METHODS = (*["forkserver"] * 4, "subprocess", *["forkserver"] * 4, "multiprocessing")

#: In turn, so that every method meets every one of them.
SCHEMES = ("tcp", "uds", "tcp")

#: Ways to end an actor, in turn.
ENDINGS = ("portal", "nursery", "hard", "scope", "unborn", "portal", "nursery")

#: Rounds before the first measurement: what is made once and kept is made in these.
WARMING = 30

#: How much more memory each round may leave behind (bytes): a lost object of any substance shows.
MEMORY_EACH = 2048


@dataclass
class RoundsReport:
    """What was held before and after, and how the memory went (bytes, by round)."""

    rounds: int
    seconds: float = 0.0
    before: dict[str, int] = field(default_factory=dict)
    after: dict[str, int] = field(default_factory=dict)
    memory: list[tuple[int, int]] = field(default_factory=list)
    template_memory: list[tuple[int, int]] = field(default_factory=list)

    @property
    def broken(self) -> list[str]:
        """What is not as it was."""
        wrong = []
        if self.before != self.after:
            wrong.append(f"held {self.before} before and {self.after} after")
        for who, series in (("this process", self.memory), ("the template", self.template_memory)):
            # A short series shows the allocator's steps, and no slope.
            if self.rounds >= 500 and slope(series) > MEMORY_EACH:
                wrong.append(f"{who} grew by {slope(series):.0f} bytes each round")
        return wrong

    def __str__(self) -> str:
        first, last = self.memory[0][1], self.memory[-1][1]
        return "\n".join(
            [
                f"{self.rounds} rounds in {self.seconds:.1f} s",
                f"before: {self.before}",
                f"after:  {self.after}",
                f"memory: {first / 2**20:.1f} MiB before, {last / 2**20:.1f} MiB after, "
                f"{slope(self.memory):+.0f} bytes each round",
                f"memory of the template: {slope(self.template_memory):+.0f} bytes each round",
                *(f"BROKEN: {wrong}" for wrong in self.broken),
            ]
        )


async def rounds(number: int, registries: Sequence[str], progress: Progress) -> RoundsReport:
    """Go through so many rounds, after some to warm up."""
    report = RoundsReport(number)
    schemes = list(dict.fromkeys(SCHEMES))
    async with tractor.open_root_actor(registry_addrs=registries, enable_transports=schemes):
        for index in range(WARMING):
            await _round(index)
        report.before = held()
        begin = time.perf_counter()
        for index in range(number):
            await _round(index)
            progress("rounds", index + 1, number)
            if index % max(1, number // 50) == 0:
                _weigh(report, index)
        report.seconds = time.perf_counter() - begin
        _weigh(report, number)
        report.after = await settled(report.before)
    return report


def _weigh(report: RoundsReport, index: int) -> None:
    report.memory.append((index, resident()))
    templates = [pid for pid in children() if is_template(pid)]
    report.template_memory.append((index, sum(map(resident, templates))))


async def _round(index: int) -> None:
    ending = ENDINGS[index % len(ENDINGS)]
    async with tractor.open_nursery() as an:
        with trio.CancelScope() as scope:
            if ending == "unborn":
                # Given up at some point of its birth, a different one in every round.
                scope.deadline = trio.current_time() + 0.002 * (index % 20)
            portal = await an.start_actor(
                f"round-{index}",
                enable_modules=[endpoints.__name__],
                enable_transports=[SCHEMES[index % len(SCHEMES)]],
                start_method=METHODS[index % len(METHODS)],
            )
            scope.deadline = float("inf")
            assert await portal.run(endpoints.pid) == portal.chan.aid.pid
            if ending == "portal":
                assert await portal.cancel_actor()
            elif ending == "scope":
                scope.cancel()
        await an.cancel(hard_kill=ending == "hard")


def slope(series: Sequence[tuple[int, int]]) -> float:
    """By how much it rises with each round: the median over pairs of the two halves, which steps do not fool.

    That is Theil's estimator, over pairs half the series apart.
    """
    half = len(series) // 2
    pairs = zip(series[:half], series[len(series) - half :], strict=True)
    rises = [
        (late - early) / (later - earlier) for (earlier, early), (later, late) in pairs if later > earlier
    ]
    return statistics.median(rises) if rises else 0.0
