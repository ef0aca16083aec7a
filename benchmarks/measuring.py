"""Rounds: ours and the floor in turn, and what comes out of them."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from .actors import Actors
from .bare import Bare
from .rows import Row

#: Part of a round that is done first and not counted.
WARM_UP = 0.1


@dataclass(frozen=True)
class Result:
    """The figures of one row over one transport, a pair for each round, in the row's unit."""

    row: Row
    transport: str
    count: int
    ours: list[float]
    bare: list[float]

    @property
    def ratio(self) -> float:
        """Ours by the floor's: the median of the rounds' own ratios."""
        return median(ours / bare for ours, bare in zip(self.ours, self.bare, strict=True))

    @property
    def spread(self) -> float:
        """How far the rounds of ours lie apart, as a part of their median."""
        return (max(self.ours) - min(self.ours)) / median(self.ours)


async def measure(
    row: Row, transport: str, actors: Actors, bare: Bare, *, rounds: int, scale: float
) -> Result:
    """A row's rounds, A B A B."""
    ours, floor = row.ours(actors), row.floor_of(actors, bare)
    count = row.scaled(scale)
    for work in (ours, floor):
        await work(row.scaled(scale * WARM_UP))
    result = Result(row, transport, count, [], [])
    for _ in range(rounds):
        result.ours.append(row.figure(await ours(count), count))
        result.bare.append(row.figure(await floor(count), count))
    return result
