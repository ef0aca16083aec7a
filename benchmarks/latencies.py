"""Latencies by the million in constant memory."""

from __future__ import annotations

from math import log2

_PER_DOUBLING = 16
_BUCKETS = 40 * _PER_DOUBLING


class Latencies:
    """Counts in buckets each 4 % wider than the one before, from a microsecond on."""

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        self.total = 0

    def add(self, seconds: float) -> None:
        """Count one latency (seconds)."""
        microseconds = seconds * 1e6
        bucket = int(log2(microseconds) * _PER_DOUBLING) if microseconds > 1 else 0
        self._counts[min(bucket, _BUCKETS - 1)] += 1
        self.total += 1

    def percentile(self, percent: float) -> float:
        """The latency (seconds) that ``percent`` of all do not exceed, within 4 %; 0 if none."""
        left = self.total * percent / 100
        for bucket, count in enumerate(self._counts):
            left -= count
            if count and left <= 0:
                return float(2 ** ((bucket + 0.5) / _PER_DOUBLING)) / 1e6
        return 0.0
