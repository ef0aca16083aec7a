"""What the benchmarks conclude from what they measured."""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest
from tools import needs_ipv6

from benchmarks.growth import growing, points
from benchmarks.latencies import Latencies
from benchmarks.measuring import Comparison, Result
from benchmarks.processes import descriptors, is_local, listening, private_bytes
from benchmarks.report import table
from benchmarks.rival import NotLocal, check_local
from benchmarks.rows import ROWS
from benchmarks.soak import growth
from benchmarks.terms import at_least, at_most

RPC = next(row for row in ROWS if row.name == "rpc")


def test_a_missed_target_is_told() -> None:
    result = Result(RPC, "tcp", 1, [200.0, 220.0, 210.0])
    result.comparisons.append(Comparison("floor", [100.0, 100.0, 100.0], at_most(1.6)))
    result.comparisons.append(Comparison("slow", [400.0, 400.0, 400.0], at_most(1)))
    assert [other.name for other in result.missed()] == ["floor"]
    first, second = table([result]).splitlines()[2:]
    assert first.split()[-8:] == ["210.0", "10%", "floor", "100.0", "2.10", "<=", "1.6", "NO"]
    assert second.split()[-1] == "yes"


def test_targets_of_rates_and_times() -> None:
    assert at_most(1.6).met(1.6) and not at_most(1.6).met(1.7)
    assert at_least(0.7).met(0.7) and not at_least(0.7).met(0.6)


def test_figures_are_in_the_unit_of_their_row() -> None:
    of = {row.name: row for row in ROWS}
    assert of["rpc"].figure(2.0, 1000) == pytest.approx(2000)
    assert of["stream"].figure(2.0, 1000) == pytest.approx(500)
    assert of["memory-forkserver"].figure(14e6, 2) == pytest.approx(7)


def test_percentiles_are_right_within_a_bucket() -> None:
    latencies = Latencies()
    for milliseconds in range(1, 1001):
        latencies.add(milliseconds / 1000)
    for percent in (50, 99, 99.9):
        assert latencies.percentile(percent) == pytest.approx(percent / 100, rel=0.045)
    assert Latencies().percentile(99) == 0


def sample(memory: float, descriptors: int) -> dict[str, Any]:
    return {"memory": {"root": memory * 2**20}, "descriptors": {"root": descriptors}}


def test_a_soak_that_grows_is_told() -> None:
    assert growth([sample(20, 9)] * 8) == []
    assert growth([sample(10, 9), sample(15, 9), *[sample(20, 9)] * 6]) == []  # it warms up
    assert growth([sample(20 + minute, 9) for minute in range(8)]) == [
        "memory of root grew from 22.5 to 26.5"
    ]
    assert growth([sample(20, 9 + minute) for minute in range(8)]) == [
        "descriptors of root grew from 11.0 to 15.0"
    ]
    # Some are held for a moment; what counts is what is left.
    assert growth([sample(20, held) for held in (9, 9, 9, 9, 14, 9, 14, 9)]) == []


def test_a_call_that_grows_is_told() -> None:
    assert growing({"dialogs": {"ratio": [(0, 1.5), (10_000, 1.6)]}}) == []
    [complaint] = growing({"dialogs": {"ratio": [(0, 1.5), (10_000, 1.8)]}})
    assert complaint == "a call grows with dialogs: 1.50 to 1.80 of raw trio's"


def test_curves_are_measured_from_nothing_to_their_end() -> None:
    assert points("dialogs", 1)[0] == 0
    assert points("dialogs", 1)[-1] == 10_000
    assert points("channels", 1)[-1] == 200
    assert points("sizes", 1)[0] == 16
    assert points("depth", 0.5) == [1, 2, 3]


@pytest.mark.parametrize("family", [socket.AF_INET, pytest.param(socket.AF_INET6, marks=needs_ipv6)])
def test_where_a_process_listens_is_seen(family: socket.AddressFamily) -> None:
    host = "127.0.0.1" if family == socket.AF_INET else "::1"
    with socket.create_server((host, 0), family=family):
        assert host in listening([os.getpid()])
        check_local("this test", os.getpid())
    assert host not in listening([os.getpid()])


def test_who_listens_to_everybody_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.rival.listening", lambda _: {"127.0.0.1", "0.0.0.0"})
    with pytest.raises(NotLocal, match=r"a rival listens at 0\.0\.0\.0$"):
        check_local("a rival", os.getpid())


def test_local_addresses() -> None:
    assert all(is_local(host) for host in ("127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"))
    assert not any(is_local(host) for host in ("0.0.0.0", "::", "10.0.0.1", "192.168.1.2"))


def test_what_a_process_holds() -> None:
    before = descriptors(os.getpid())
    with open(os.devnull):
        assert descriptors(os.getpid()) == before + 1
    assert private_bytes(os.getpid()) > 1_000_000
    assert (descriptors(2**22), private_bytes(2**22)) == (0, 0)
