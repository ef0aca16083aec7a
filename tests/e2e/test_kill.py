"""Whoever is killed, in whatever way: everybody below is gone, and the next tree can start at once."""

from __future__ import annotations

import pytest
import trio
from programs.kill_cases import Case, all_pairs, covering, every_case
from programs.kill_matrix import main, parse, run_case

CASES = covering(every_case())


def test_the_chosen_cases_cover_every_pair() -> None:
    assert all_pairs(CASES) == all_pairs(every_case())
    assert len(CASES) <= 40
    assert covering(every_case()) == CASES, "the same cases every time"


def test_the_cases_are_all_that_can_be() -> None:
    assert len(every_case()) == len(set(every_case())) == 960


#: Run at the same time: what takes long is the grace, and that is waiting.
TOGETHER = 4


def title(cases: list[Case]) -> str:
    return " and ".join(f"{case.signal}-{case.victim}" for case in cases)


@pytest.mark.limit(60)
@pytest.mark.parametrize(
    "cases", [CASES[start : start + TOGETHER] for start in range(0, len(CASES), TOGETHER)], ids=title
)
async def test_nothing_survives(cases: list[Case]) -> None:
    async with trio.open_nursery() as tasks:
        for case in cases:
            tasks.start_soon(run_case, case)


@pytest.mark.parametrize("arguments", [["nosuchword"], ["--skip", "100000"], ["template", "nosuchword"]])
async def test_a_matrix_of_no_case_is_no_success(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert await main(parse(arguments)) == 2
    assert "no case is left" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--together", "0"], ["--together", "-1"], ["--skip", "-1"]])
def test_a_matrix_that_cannot_be_run_is_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(arguments)
    assert caught.value.code == 2 and "must be at least" in capsys.readouterr().err
