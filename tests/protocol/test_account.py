"""What the streams of one channel hold together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from tractor_core.protocol.credit import (
    LEAST_WINDOW,
    VALUE_COST,
    Account,
    OverBudget,
    ReceiveBuffer,
    Window,
)

KIB = 1024


def value(size: int) -> Raw:
    return Raw(b"x" * size)


def test_one_value_may_be_larger_than_everything() -> None:
    account = Account(64 * KIB)
    first, second, third = (ReceiveBuffer(account=account) for _ in range(3))
    assert first.put(value(1024 * KIB))
    assert account.held == 0
    # The others have the whole budget still.
    assert second.put(value(60 * KIB))
    with pytest.raises(OverBudget, match=f"{60 * KIB + VALUE_COST} bytes"):
        third.put(value(60 * KIB))
    first.take()
    assert third.put(value(60 * KIB))
    assert account.held == 60 * KIB + VALUE_COST


def test_what_is_refused_leaves_no_trace() -> None:
    account = Account(8 * KIB)
    buffer = ReceiveBuffer(account=account)
    assert buffer.put(value(9 * KIB))
    assert buffer.put(value(7 * KIB))
    held = account.held
    with pytest.raises(OverBudget):
        buffer.put(value(2 * KIB))
    assert (account.held, len(buffer.values)) == (held, 2)
    buffer.release()
    assert account.held == 0
    assert account.outside is None
    assert buffer.put(value(7 * KIB))


def test_a_full_channel_leaves_each_stream_its_reserve() -> None:
    account = Account(64 * KIB, reserve=KIB)
    greedy, modest = ReceiveBuffer(account=account), ReceiveBuffer(account=account)
    with pytest.raises(OverBudget):
        while True:
            greedy.put(value(4 * KIB - VALUE_COST))
    for _ in range(3):
        modest.put(value(100))
    with pytest.raises(OverBudget):
        modest.put(value(KIB))
    with pytest.raises(OverBudget):
        greedy.put(value(100))


def test_windows_get_smaller_with_every_stream() -> None:
    account = Account(256 * KIB * KIB)
    most = 8 * KIB * KIB
    sizes = []
    buffers = []
    for _ in range(1000):
        buffer = ReceiveBuffer(account=account)
        window = Window(64, account.share(most))
        buffer.open(window, unbounded=False)
        sizes.append(window.size)
        buffers.append(buffer)
    assert sizes[0] == most
    assert sizes == sorted(sizes, reverse=True)
    assert sum(sizes[:100]) < account.budget
    assert sizes[-1] == LEAST_WINDOW
    for buffer in buffers:
        buffer.release()
    assert account.share(most) == most


def test_a_small_budget_makes_small_windows() -> None:
    account = Account(100 * KIB)
    assert account.share(8 * KIB * KIB) == 100 * KIB
    account.promise(100 * KIB)
    assert account.share(8 * KIB * KIB) == LEAST_WINDOW
    assert account.share(1000) == 1000


def test_buffering_without_end_ends_where_memory_would() -> None:
    """Credit is given on arrival until half of the budget is used, from then on for what is read."""
    account = Account(512 * KIB)
    buffer = ReceiveBuffer(account=account)
    buffer.open(Window(8, 16 * KIB), unbounded=True)
    granted = 8
    sent = 0
    while sent < granted:
        assert buffer.put(value(KIB))
        sent += 1
        if (credit := buffer.credit(0)) is not None:
            granted += credit.messages
        assert account.held < account.budget
    assert account.tight
    assert sent > 200
    # Nothing was lost, and reading lets the sender go on.
    for _ in range(sent):
        buffer.take()
        if (credit := buffer.credit(0)) is not None:
            granted += credit.messages
    assert granted > sent
    assert account.held == 0


@given(
    st.lists(
        st.tuples(st.integers(0, 7), st.sampled_from(["put", "take", "release"]), st.integers(0, 40 * KIB))
    )
)
def test_the_books_always_balance(steps: list[tuple[int, str, int]]) -> None:
    account = Account(64 * KIB, reserve=2 * KIB)
    buffers = [ReceiveBuffer(account=account) for _ in range(8)]
    for index, what, size in steps:
        buffer = buffers[index]
        if what == "put":
            try:
                buffer.put(value(size))
            except OverBudget:
                assert account.held + size + VALUE_COST > account.budget
        elif what == "release":
            buffer.release()
        elif buffer.values:
            buffer.take()
            buffer.credit(0)
        held = [(payload, size) for each in buffers for payload, size in each.values]
        assert sum(payload is account.outside for payload, _ in held) == (account.outside is not None)
        counted = [size + VALUE_COST for payload, size in held if payload is not account.outside]
        assert account.held == sum(counted) <= account.budget + 8 * 2 * KIB
