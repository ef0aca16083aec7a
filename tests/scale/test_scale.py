"""Two hundred actors at once, and round after round of them, leave nothing behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from multiprocessing import resource_tracker

import pytest
from scale.__main__ import parse
from scale.crowd import STREAMED, crowd
from scale.rounds import METHODS, SCHEMES, RoundsReport, rounds, slope


@pytest.fixture(scope="module", autouse=True)
def _tracker() -> Iterator[None]:
    """The standard library's, which stays for as long as its process: here, for the tests of this module."""
    resource_tracker.ensure_running()
    yield
    resource_tracker._resource_tracker._stop()


@pytest.mark.parametrize("arguments", ["--actors 0", "--actors -3", "--rounds 0", "--rounds -1"])
def test_a_run_that_would_show_nothing_is_refused(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(arguments.split())
    assert caught.value.code == 2
    assert "would show nothing" in capsys.readouterr().err
    assert parse(["--rounds", "1"]).rounds == parse(["--actors", "1"]).actors == 1


@pytest.mark.limit(120)
async def test_a_cluster_of_two_hundred(free_tcp_registry: str) -> None:
    """Spawned, called, streamed from and cancelled, each of them."""
    seen: dict[str, list[int]] = {}

    def progress(phase: str, done: int, total: int) -> None:
        assert total == 200
        seen.setdefault(phase, []).append(done)

    report = await crowd(200, free_tcp_registry, "forkserver", progress)
    print(report)
    assert report.leftovers == []
    assert set(report.seconds) == {"spawn", "call", "stream", "cancel"} == set(seen)
    assert all(max(steps) == 200 for steps in seen.values())
    assert STREAMED > 1


@pytest.mark.limit(120)
async def test_rounds_end_with_what_they_began_with(free_tcp_registry: str) -> None:
    """Every backend over every transport that rounds have, ended in every way."""
    uds = f"uds://{os.environ['XDG_RUNTIME_DIR']}/rounds.sock"
    report = await rounds(len(METHODS) * len(SCHEMES), [free_tcp_registry, uds], lambda *told: None)
    print(report)
    assert report.broken == []


def test_a_leak_breaks_a_report() -> None:
    report = RoundsReport(1000, before={"socket": 3}, after={"socket": 4})
    report.memory = [(index, 10_000 * index) for index in range(0, 1000, 20)]
    assert [wrong.split()[0] for wrong in report.broken] == ["held", "this"]
    report.memory = [(index, 2**25 + (index > 600) * 2**17) for index in range(0, 1000, 20)]
    report.after = report.before
    assert report.broken == []


def test_a_slope_is_not_fooled_by_one_step() -> None:
    assert slope([(index, 7 * index) for index in range(50)]) == 7
    assert abs(slope([(index, 10**6 * (index > 40)) for index in range(50)])) < 1
