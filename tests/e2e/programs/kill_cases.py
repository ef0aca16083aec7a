"""Who is killed, how, and what those below are doing: all cases, and a part that covers every pair."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass

#: "SIGSTOP" means that SIGKILL follows: the victim cannot act on anything in between.
SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT", "SIGSTOP")
#: "template" is the process from which the root's actors are forked.
VICTIMS = ("root", "middle", "leaf", "template")
BEHAVIOURS = ("idle", "block", "compute", "ignore", "spawn", "stop")
METHODS = ("subprocess", "forkserver", "multiprocessing")
SCHEMES = ("tcp", "uds", "zmq+tcp", "ws")

Pair = tuple[tuple[int, str], tuple[int, str]]


@dataclass(frozen=True)
class Case:
    signal: str
    victim: str
    behaviour: str
    method: str
    scheme: str

    def __str__(self) -> str:
        return f"{self.signal} of the {self.victim}, {self.behaviour} below it, {self.method}, {self.scheme}"

    @property
    def possible(self) -> bool:
        """Only one method has a template."""
        return self.victim != "template" or self.method == "forkserver"

    @property
    def spares_actors(self) -> bool:
        """By design: actors outlive their template, and ignore what a terminal sends to everybody.

        The root must be ended then for the tree to go.
        """
        if self.victim == "template":
            return True
        if self.victim == "root":
            return False
        ignored = self.victim == "leaf" and self.behaviour == "ignore" and self.signal == "SIGTERM"
        return ignored or self.signal == "SIGINT"

    @property
    def pairs(self) -> set[Pair]:
        """Every two of its values, each with the number of its dimension."""
        return set(itertools.combinations(enumerate(astuple(self)), 2))  # type: ignore[arg-type]


def every_case() -> list[Case]:
    cases = itertools.starmap(Case, itertools.product(SIGNALS, VICTIMS, BEHAVIOURS, METHODS, SCHEMES))
    return [case for case in cases if case.possible]


def covering(cases: Sequence[Case]) -> list[Case]:
    """A part in which every pair of values occurs that occurs in ``cases``.

    Chosen greedily, always the case that adds most, the first of equals: the same at every call.
    """
    missing = all_pairs(cases)
    chosen = []
    while missing:
        best = max(cases, key=lambda case: len(missing & case.pairs))
        chosen.append(best)
        missing -= best.pairs
    return chosen


def all_pairs(cases: Iterable[Case]) -> set[Pair]:
    return {pair for case in cases for pair in case.pairs}
