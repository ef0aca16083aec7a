"""The words of the table: what measures, and what a ratio should be."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

#: Takes a number of operations, returns the seconds that they took.
Measure = Callable[[int], Awaitable[float]]


@dataclass(frozen=True)
class Target:
    """A bound of ours by theirs: ``Target("<=", 1.6)`` for times, ``Target(">=", 0.7)`` for rates."""

    sign: str
    bound: float

    def met(self, ratio: float) -> bool:
        return ratio <= self.bound if self.sign == "<=" else ratio >= self.bound

    def __str__(self) -> str:
        return f"{self.sign} {self.bound:.3g}"


def at_most(bound: float) -> Target:
    return Target("<=", bound)


def at_least(bound: float) -> Target:
    return Target(">=", bound)
