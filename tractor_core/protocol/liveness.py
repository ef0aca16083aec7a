"""Liveness: whether the peer of one channel is still there, judged by what is heard of it. Sans-IO.

Whoever owns the channels asks :meth:`Liveness.check` now and then, with a clock and a count that grows
whenever anything arrives. Nothing is recorded per message, and no time per read.
"""

from __future__ import annotations

import math
from enum import Enum, auto
from typing import Any

import msgspec

#: Seconds of silence after which a peer is pinged: rare enough for thousands of idle channels to cost
#: nothing that can be measured, and far below the minute after which middleboxes forget a connection.
DEFAULT_INTERVAL = 5.0

#: Pings that must be left unanswered, one interval after the other, before a timeout is over.
_INTERVALS_PER_TIMEOUT = 3


class Heartbeat(msgspec.Struct, frozen=True):
    """How a channel is watched, in seconds.

    After ``interval`` of silence the peer is asked to say something, after twice that it is
    *unresponsive*, which is reported and nothing else. After ``timeout`` the channel is to be closed; None:
    never. ``ValueError`` names what makes no sense.
    """

    interval: float = DEFAULT_INTERVAL
    timeout: float | None = None

    def __post_init__(self) -> None:
        _check("heartbeat_interval", self.interval)
        if self.timeout is not None:
            _check("heartbeat_timeout", self.timeout)
            if self.timeout <= self.interval:
                raise ValueError(
                    f"heartbeat_timeout ({self.timeout:g} s) must be above heartbeat_interval "
                    f"({self.interval:g} s): a peer is asked before it is given up"
                )

    @classmethod
    def of(cls, interval: float | None = None, timeout: float | None = None) -> Heartbeat:
        """From what a user gave: an interval that was left out leaves time for three in the timeout."""
        if interval is None:
            interval = DEFAULT_INTERVAL
            if timeout is not None:
                _check("heartbeat_timeout", timeout)
                interval = min(interval, timeout / _INTERVALS_PER_TIMEOUT)
        return cls(interval, timeout)

    @property
    def tick(self) -> float:
        """How often to look (seconds): this is also how late each verdict may come."""
        return self.interval / 2


def _check(name: str, seconds: Any) -> None:
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not number or not math.isfinite(seconds) or seconds <= 0:
        raise ValueError(f"{name} must be a number of seconds above zero, not {seconds!r}")


class Finding(Enum):
    """What a check found."""

    FINE = auto()
    #: Ask the peer to say something.
    PING_DUE = auto()
    #: It did not answer for an interval; said once per episode.
    UNRESPONSIVE = auto()
    #: It said something again; ``Liveness.lasted`` is how long it had not.
    RECOVERED = auto()
    #: The timeout is over: give it up.
    DEAD = auto()


class Liveness:
    """What is known of one peer.

    Only time in which *this* side looked is held against a peer: a check that comes more than a tick late
    was kept from running by this side's own loop (it computed, it was stopped), and says nothing.
    """

    def __init__(self, heartbeat: Heartbeat, *, now: float, heard: int = 0) -> None:
        self.heartbeat = heartbeat
        #: Seconds for which nothing was heard.
        self.silence = 0.0
        self.unresponsive = False
        #: How long the last episode of being unresponsive was (seconds).
        self.lasted = 0.0
        self._heard = heard
        self._checked_at = now
        self._asked = False

    def check(self, heard: int, now: float) -> Finding:
        """Judge, given the count of what arrived so far and the time (seconds)."""
        elapsed = now - self._checked_at
        self._checked_at = now
        if heard != self._heard:
            self._heard = heard
            return self._speaks()
        heartbeat = self.heartbeat
        if elapsed <= 2 * heartbeat.tick:
            self.silence += elapsed
        if heartbeat.timeout is not None and self.silence >= heartbeat.timeout:
            return Finding.DEAD
        if not self._asked:
            if self.silence < heartbeat.interval:
                return Finding.FINE
            self._asked = True
            return Finding.PING_DUE
        if self.unresponsive or self.silence < 2 * heartbeat.interval:
            return Finding.FINE
        self.unresponsive = True
        return Finding.UNRESPONSIVE

    def _speaks(self) -> Finding:
        recovered, self.lasted = self.unresponsive, self.silence
        self.silence, self._asked, self.unresponsive = 0.0, False, False
        return Finding.RECOVERED if recovered else Finding.FINE
