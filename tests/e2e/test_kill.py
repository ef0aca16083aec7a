"""Whoever is killed, in whatever way: everybody below is gone, and the next tree can start at once."""

from __future__ import annotations

import itertools

import pytest
import trio
from programs.kill_matrix import Case, Places, covering_cases, every_case, run_case

CASES = covering_cases()


def test_the_chosen_cases_cover_every_pair() -> None:
    def pairs(cases: list[Case]) -> set[tuple[str, str]]:
        return {
            pair
            for case in cases
            for pair in itertools.combinations((case.signal, case.victim, case.behaviour, case.scheme), 2)
        }

    assert pairs(CASES) == pairs(every_case())
    assert len(CASES) <= 24


#: Run at the same time: what takes long is the grace, and that is waiting.
TOGETHER = 4


@pytest.mark.limit(60)
@pytest.mark.parametrize("start", range(0, len(CASES), TOGETHER))
async def test_nothing_survives(start: int) -> None:
    places = Places()
    async with trio.open_nursery() as tasks:
        for case in CASES[start : start + TOGETHER]:
            tasks.start_soon(run_case, case, places.registry(case.scheme))
