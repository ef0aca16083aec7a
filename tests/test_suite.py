"""The suite's own rules: tests that run side by side stay out of each other's way, and none is left out."""

from __future__ import annotations

from collections import Counter

import pytest
from registries import EVERY, SHARES, TRANSPORTS_VARIABLE, USUAL, free_port, share
from tools import title


def test_everything_goes_the_usual_ways_and_one_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TRANSPORTS_VARIABLE, raising=False)
    usual = [way.scheme for way in USUAL]
    things = range(23)
    for scheme in usual:
        assert list(share(things, f"{scheme}://somewhere")) == list(things)
    others = [way.scheme for way in EVERY if way.scheme not in usual]
    gone = Counter(thing for scheme in others for thing in share(things, f"{scheme}://somewhere"))
    assert gone == Counter(things)


def test_everything_goes_the_way_that_the_environment_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    for way in EVERY:
        monkeypatch.setenv(TRANSPORTS_VARIABLE, way.scheme)
        assert list(share(range(23), f"{way.scheme}://somewhere")) == list(range(23))


def test_those_side_by_side_pick_different_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    picked = []
    for worker in ("gw0", "gw1"):
        monkeypatch.setenv("PYTEST_XDIST_WORKER", worker)
        picked.append({free_port() % SHARES for _ in range(20)})
    assert len(picked[0]) == len(picked[1]) == 1 and picked[0] != picked[1]


def test_all_processes_name_a_test_alike() -> None:
    assert title([object()]) == "[<object object>]"
