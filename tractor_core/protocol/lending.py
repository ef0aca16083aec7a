"""Memory in which one side of a channel lends messages to the other: who may use which part. No I/O.

The *lender* writes a message into a place that is free and tells where it lies; the *borrower* reads it
there, and gives the place back when nobody looks at it any more.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

#: Places begin and end at multiples of this (bytes): a page, so that no two share one.
GRANULE: Final = 4096

#: One place for so many bytes of memory may be lent at a time. Senders lend nothing so small, and keeping
#: track of a place costs some hundred bytes.
BYTES_PER_PLACE: Final = 16 * 1024


class LendingError(Exception):
    """The peer named memory that it has not, or not any more; the channel cannot go on."""


class Lender:
    """What of its memory of ``size`` bytes a sender has lent.

    It takes the lowest place that is large enough, so that little of the memory is ever touched, and what
    is written was written before a short time ago, which caches like.
    """

    __slots__ = ("_free", "_lent")

    def __init__(self, size: int) -> None:
        # In order, and never touching each other.
        self._free = [(0, size)]
        #: Ends of the places that are lent, by where they begin.
        self._lent: dict[int, int] = {}

    @property
    def lent(self) -> int:
        """How many messages the borrower has not given back."""
        return len(self._lent)

    def take(self, size: int) -> int | None:
        """Where a message of ``size`` bytes is to be written; None where no place is large enough."""
        needed = -(-size // GRANULE) * GRANULE
        free = self._free
        for index, (begin, end) in enumerate(free):
            rest = begin + needed
            if rest <= end:
                if rest < end:
                    free[index] = (rest, end)
                else:
                    del free[index]
                self._lent[begin] = rest
                return begin
        return None

    def give_back(self, start: int) -> None:
        """The message at ``start`` is read. :class:`LendingError` where none is lent there."""
        end = self._lent.pop(start, None)
        if end is None:
            raise LendingError(f"memory given back that was not lent, at {start}")
        free = self._free
        index = bisect_left(free, (start, end))
        if index < len(free) and free[index][0] == end:
            end = free.pop(index)[1]
        if index and free[index - 1][1] == start:
            index -= 1
            start = free.pop(index)[0]
        free.insert(index, (start, end))


class Borrower:
    """Which parts of a peer's memory of ``size`` bytes hold messages that are still looked at.

    One message may have ``largest`` bytes.
    """

    __slots__ = ("_held", "_largest", "_most", "_size", "_starts")

    def __init__(self, size: int, largest: int) -> None:
        self._size = size
        self._largest = largest
        self._most = max(1, size // BYTES_PER_PLACE)
        self._starts: list[int] = []
        self._held: dict[int, int] = {}

    def borrow(self, start: int, size: int) -> None:
        """A message lies there. :class:`LendingError` where that cannot be, or is one too many."""
        end = start + size
        if start < 0 or size < 1 or end > self._size:
            raise LendingError(f"a message of {size} bytes at {start} of {self._size}")
        if size > self._largest:
            raise LendingError(f"message of more than {self._largest} bytes")
        starts = self._starts
        index = bisect_left(starts, start)
        before = index and starts[index - 1] + self._held[starts[index - 1]]
        if before > start or (index < len(starts) and starts[index] < end):
            raise LendingError(f"a message over another one that is still read, at {start}")
        if len(starts) >= self._most:
            raise LendingError(f"more than {self._most} messages lent")
        starts.insert(index, start)
        self._held[start] = size

    def give_back(self, start: int) -> int:
        """Nobody looks at the message at ``start`` any more; how many bytes it had."""
        del self._starts[bisect_left(self._starts, start)]
        return self._held.pop(start)
