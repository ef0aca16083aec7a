"""The account of one channel's liveness, on a clock of its own."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tractor_core.protocol.liveness import DEFAULT_INTERVAL, Finding, Heartbeat, Liveness


class Watch:
    """A clock, a count of what arrived, and the account that is asked at every tick."""

    def __init__(self, heartbeat: Heartbeat) -> None:
        self.now = 1000.0
        self.heard = 0
        self.heartbeat = heartbeat
        self.liveness = Liveness(heartbeat, now=self.now)

    def tick(self, seconds: float | None = None) -> Finding:
        self.now += self.heartbeat.tick if seconds is None else seconds
        return self.liveness.check(self.heard, self.now)

    def ticks(self, number: int) -> list[Finding]:
        return [finding for _ in range(number) if (finding := self.tick()) is not Finding.FINE]


def test_nothing_is_asked_of_a_peer_that_speaks() -> None:
    watch = Watch(Heartbeat(2.0, 6.0))
    for _ in range(100):
        watch.heard += 1
        assert watch.tick() is Finding.FINE


def test_one_ping_then_one_report_in_silence() -> None:
    watch = Watch(Heartbeat(2.0))
    assert watch.ticks(2) == [Finding.PING_DUE]
    assert watch.liveness.silence == 2.0
    assert watch.ticks(2) == [Finding.UNRESPONSIVE]
    assert watch.liveness.silence == 4.0
    assert watch.ticks(1000) == []


def test_an_answer_begins_all_anew() -> None:
    watch = Watch(Heartbeat(2.0))
    assert watch.ticks(3) == [Finding.PING_DUE]
    watch.heard += 1
    assert watch.tick() is Finding.FINE
    assert watch.ticks(3) == [Finding.PING_DUE]


def test_a_recovery_is_told_with_how_long_it_took() -> None:
    watch = Watch(Heartbeat(2.0))
    assert watch.ticks(20) == [Finding.PING_DUE, Finding.UNRESPONSIVE]
    watch.heard += 7
    assert watch.tick() is Finding.RECOVERED
    assert watch.liveness.lasted == 20.0
    assert not watch.liveness.unresponsive
    assert watch.ticks(4) == [Finding.PING_DUE, Finding.UNRESPONSIVE]


def test_the_timeout_ends_it() -> None:
    watch = Watch(Heartbeat(1.0, 3.0))
    assert watch.ticks(6) == [Finding.PING_DUE, Finding.UNRESPONSIVE, Finding.DEAD]


def test_time_in_which_this_side_did_not_look_is_nobodys_silence() -> None:
    watch = Watch(Heartbeat(1.0, 3.0))
    assert watch.ticks(5) == [Finding.PING_DUE, Finding.UNRESPONSIVE]
    # The own loop computed for a minute; the answer lies in the socket and is read after this look.
    assert watch.tick(60.0) is Finding.FINE
    watch.heard += 1
    assert watch.tick() is Finding.RECOVERED


def test_the_account_begins_with_what_was_heard_before() -> None:
    liveness = Liveness(Heartbeat(1.0), now=0.0, heard=5)
    assert [liveness.check(5, 0.5), liveness.check(5, 1.0)] == [Finding.FINE, Finding.PING_DUE]


@given(st.lists(st.tuples(st.floats(0.01, 1.0), st.booleans()), max_size=200))
def test_it_is_never_given_up_before_its_time(steps: list[tuple[float, bool]]) -> None:
    """Whatever happens when, the silence that is charged is never longer than the real one."""
    watch = Watch(Heartbeat(1.0, 3.0))
    last_heard = watch.now
    for seconds, speaks in steps:
        finding = watch.tick(seconds)
        assert watch.liveness.silence <= watch.now - last_heard + 1e-9
        if finding is Finding.DEAD:
            assert watch.now - last_heard >= 3.0 - 1e-9
            return
        if speaks:
            watch.heard += 1
            last_heard = watch.now


def test_an_interval_that_is_not_given_leaves_time_for_three() -> None:
    assert Heartbeat.of() == Heartbeat(DEFAULT_INTERVAL, None)
    assert Heartbeat.of(timeout=3) == Heartbeat(1.0, 3)
    assert Heartbeat.of(timeout=60) == Heartbeat(DEFAULT_INTERVAL, 60)
    assert Heartbeat.of(interval=7) == Heartbeat(7, None)


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, True, "3"])
def test_what_is_no_time_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="heartbeat_interval must be a number of seconds above zero"):
        Heartbeat.of(interval=value)
    with pytest.raises(ValueError, match="heartbeat_timeout must be a number of seconds above zero"):
        Heartbeat.of(timeout=value)


def test_a_timeout_within_the_interval_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"heartbeat_timeout \(2 s\) must be above heartbeat_interval \(5 s\)"
    ):
        Heartbeat.of(interval=5, timeout=2)
