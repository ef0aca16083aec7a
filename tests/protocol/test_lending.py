"""Memory lent between two sides: no place is used twice at a time, and no lie is taken."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tractor_core.protocol.lending import BYTES_PER_PLACE, GRANULE, Borrower, Lender, LendingError

MIB = 1024 * 1024
SIZE = 64 * GRANULE


class Pair(RuleBasedStateMachine):
    """A lender and its borrower, and what should be true of both."""

    def __init__(self) -> None:
        super().__init__()
        # Large enough that the number of places is no limit here.
        self.size = 16 * BYTES_PER_PLACE
        self.lender = Lender(self.size)
        self.borrower = Borrower(self.size, self.size)
        self.lent: dict[int, int] = {}

    @rule(size=st.integers(BYTES_PER_PLACE, 5 * BYTES_PER_PLACE))
    def lend(self, size: int) -> None:
        start = self.lender.take(size)
        if start is None:
            # Only where there really is no gap that is large enough.
            edges = sorted((begin, begin + length) for begin, length in self.lent.items())
            ends = [0, *(-(-end // GRANULE) * GRANULE for _, end in edges)]
            gaps = zip(ends, [*(begin for begin, _ in edges), self.size], strict=True)
            assert all(begin - end < size for end, begin in gaps)
            return
        self.borrower.borrow(start, size)
        self.lent[start] = size

    @precondition(lambda self: self.lent)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        start = data.draw(st.sampled_from(sorted(self.lent)))
        assert self.borrower.give_back(start) == self.lent.pop(start)
        self.lender.give_back(start)
        with pytest.raises(LendingError, match="not lent"):
            self.lender.give_back(start)

    @invariant()
    def nothing_overlaps(self) -> None:
        places = sorted((start, start + size) for start, size in self.lent.items())
        assert all(start % GRANULE == 0 and 0 <= start < end <= self.size for start, end in places)
        assert all(end <= start for (_, end), (start, _) in pairwise(places))
        assert self.lender.lent == len(places)

    @invariant()
    def when_all_is_back_all_is_free(self) -> None:
        if not self.lent:
            assert self.lender.take(self.size) == 0
            self.lender.give_back(0)


TestPair = Pair.TestCase


def test_the_lowest_place_is_taken() -> None:
    lender = Lender(SIZE)
    starts = [lender.take(GRANULE + 1) for _ in range(4)]
    assert starts == [0, 2 * GRANULE, 4 * GRANULE, 6 * GRANULE]
    lender.give_back(4 * GRANULE)
    lender.give_back(0)
    assert [lender.take(GRANULE), lender.take(GRANULE), lender.take(2 * GRANULE)] == [
        0,
        GRANULE,
        4 * GRANULE,
    ]


def test_who_keeps_places_only_gets_no_more() -> None:
    lender = Lender(SIZE)
    assert [lender.take(SIZE // 2), lender.take(SIZE // 2), lender.take(1)] == [0, SIZE // 2, None]
    assert Lender(SIZE).take(SIZE + 1) is None


@pytest.mark.parametrize(
    ("start", "size"),
    [
        (-1, 10),
        (0, 0),
        (0, -5),
        (0, 16 * MIB + 1),
        (16 * MIB, 1),
        (16 * MIB - 1, 2),
        (2**62, 2**62),
        (5, -2),
    ],
)
def test_a_place_that_is_none(start: int, size: int) -> None:
    with pytest.raises(LendingError, match="a message of"):
        Borrower(16 * MIB, 64 * MIB).borrow(start, size)


@given(start=st.integers(0, 300), size=st.integers(1, 300))
def test_a_place_over_another_one(start: int, size: int) -> None:
    borrower = Borrower(16 * MIB, MIB)
    borrower.borrow(100, 50)
    borrower.borrow(200, 1)
    free = all(start >= end or start + size <= begin for begin, end in ((100, 150), (200, 201)))
    if free:
        borrower.borrow(start, size)
        borrower.give_back(start)
    else:
        with pytest.raises(LendingError, match="still read"):
            borrower.borrow(start, size)
    borrower.give_back(100)
    borrower.borrow(100, 100)


def test_a_message_larger_than_messages_may_be() -> None:
    with pytest.raises(LendingError, match="more than 1048576 bytes"):
        Borrower(16 * MIB, MIB).borrow(0, MIB + 1)


def test_a_flood_of_tiny_ones_ends() -> None:
    borrower = Borrower(MIB, MIB)
    for index in range(MIB // BYTES_PER_PLACE):
        borrower.borrow(2 * index, 1)
    with pytest.raises(LendingError, match=f"more than {MIB // BYTES_PER_PLACE} messages"):
        borrower.borrow(MIB - 1, 1)
