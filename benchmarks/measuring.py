"""Rounds: every side in turn, and what comes out of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal

from .sides import Sides
from .terms import Measure, Target

#: Part of a round that is done first and not counted.
WARM_UP = 0.1

Unit = Literal["us", "ms", "MB", "/s"]
_FACTORS = {"us": 1e6, "ms": 1e3, "MB": 1e-6}


@dataclass(frozen=True)
class Against:
    """What a row is compared with: another side's work, or a figure that was published."""

    name: str
    #: Does the same work; None for a side that is not there.
    work: Callable[[Sides], Measure | None] = lambda _: None
    target: Target | None = None
    #: In the row's unit, by transport.
    published: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """One kind of work. ``count`` operations make a round; the figure is a time, size or rate of one."""

    name: str
    title: str
    count: int
    unit: Unit
    ours: Callable[[Sides], Measure]
    against: Sequence[Against]
    #: Operations that cannot be split over fewer.
    step: int = 1
    #: The spawn backend it is about, if it is about one.
    backend: str | None = None
    #: What rivals call the same work, and what our ratio to an asyncio one should be.
    rival: str | None = None
    target_of_peers: Target | None = None
    #: Whether it differs between transports.
    every_transport: bool = True

    def figure(self, seconds: float, count: int) -> float:
        """Seconds (or bytes) for ``count`` operations, in this row's unit."""
        return count / seconds if self.unit == "/s" else seconds / count * _FACTORS[self.unit]

    def scaled(self, scale: float) -> int:
        """How many operations to do in a round."""
        return max(1, round(self.count * scale / self.step)) * self.step


@dataclass(frozen=True)
class Comparison:
    """One other side's figures beside ours, in the row's unit, one for each round."""

    name: str
    figures: list[float]
    target: Target | None = None

    def ratio(self, ours: Sequence[float]) -> float:
        """Ours by theirs: the median of the rounds' own ratios."""
        return median(mine / other for mine, other in zip(ours, self.figures, strict=True))


@dataclass(frozen=True)
class Result:
    """The figures of one row over one transport, in the row's unit."""

    row: Row
    transport: str
    count: int
    ours: list[float] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)

    @property
    def spread(self) -> float:
        """How far the rounds of ours lie apart, as a part of their median."""
        return (max(self.ours) - min(self.ours)) / median(self.ours)

    def missed(self) -> list[Comparison]:
        """Where the ratio is not what it should be."""
        return [
            other
            for other in self.comparisons
            if other.target and not other.target.met(other.ratio(self.ours))
        ]


async def measure(row: Row, sides: Sides, *, rounds: int, scale: float) -> Result:
    """A row's rounds, A B C A B C."""
    count = row.scaled(scale)
    ours = row.ours(sides)
    others: dict[str, tuple[Measure, Target | None]] = {}
    for against in row.against:
        if (work := against.work(sides)) is not None:
            others[against.name] = (work, against.target)
    for rival in sides.rivals:
        if row.rival is not None and row.rival in rival.works:
            target = row.target_of_peers if rival.is_peer else None
            others[rival.name] = (rival.measure(row.rival), target)
    result = Result(row, sides.transport, count)
    result.comparisons.extend(Comparison(name, [], target) for name, (_, target) in others.items())
    for warm_up in (ours, *(work for work, _ in others.values())):
        await warm_up(row.scaled(scale * WARM_UP))
    for _ in range(rounds):
        result.ours.append(row.figure(await ours(count), count))
        for comparison in result.comparisons:
            work, _ = others[comparison.name]
            comparison.figures.append(row.figure(await work(count), count))
    for against in row.against:
        if sides.transport in against.published:
            figures = [against.published[sides.transport]] * rounds
            result.comparisons.append(Comparison(against.name, figures, against.target))
    return result
