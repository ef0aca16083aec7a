"""Cutting large messages and joining them, also from peers that cut strangely."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tractor_core.msg.types import Chunk
from tractor_core.protocol.chunks import CHUNK, UNFINISHED, ChunkError, Cutter, Joiner

MIB = 1024 * 1024


def pieces(cid: int, frame: bytes, step: int = CHUNK) -> list[Chunk]:
    cutter = Cutter(cid, frame, step)
    found = [cutter.next()]
    while not found[-1].last:
        found.append(cutter.next())
    with pytest.raises(IndexError):
        cutter.next()
    return found


def piece(cid: int, data: bytes, *, last: bool = False) -> Chunk:
    return Chunk(cid, last, memoryview(data))


def joiner(limit: int = 4 * MIB, budget: int = MIB) -> Joiner:
    return Joiner(limit=limit, budget=budget)


@given(frame=st.binary(min_size=1, max_size=300), step=st.integers(1, 301))
def test_cut_and_joined_is_the_same(frame: bytes, step: int) -> None:
    chunks = pieces(4, frame, step)
    assert len(chunks) == -(-len(frame) // step)
    assert all(0 < len(chunk.data) <= step for chunk in chunks)
    join = joiner()
    *first, last = chunks
    assert [join.add(chunk) for chunk in first] == [None] * len(first)
    assert join.add(last) == frame


@given(
    frames=st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=5),
    turns=st.randoms(use_true_random=False),
)
def test_dialogs_take_turns(frames: list[bytes], turns: object) -> None:
    queues = [pieces(cid, frame, 7) for cid, frame in enumerate(frames)]
    join, found = joiner(), {}
    while any(queues):
        cid = turns.choice([cid for cid, queue in enumerate(queues) if queue])  # type: ignore[attr-defined]
        whole = join.add(queues[cid].pop(0))
        if whole is not None:
            found[cid] = bytes(whole)
    assert found == dict(enumerate(frames))


def test_a_dialog_can_send_one_after_the_other() -> None:
    join = joiner()
    for frame in (b"a" * 100, b"b" * 50):
        *_, whole = [join.add(chunk) for chunk in pieces(4, frame, 16)]
        assert whole == frame


def test_pieces_are_views_of_the_message() -> None:
    frame = b"x" * 10
    assert pieces(4, frame, 5)[0].data.obj is frame


@pytest.mark.parametrize(("frame", "step"), [(b"", 5), (b"abc", 0)])
def test_what_cannot_be_cut(frame: bytes, step: int) -> None:
    with pytest.raises(ValueError):
        Cutter(4, frame, step)


def test_one_message_up_to_its_limit_and_no_further() -> None:
    join = joiner(limit=100, budget=10)
    assert join.add(piece(4, b"x" * 60)) is None
    assert join.add(piece(4, b"x" * 40, last=True)) == b"x" * 100
    assert join.add(piece(6, b"x" * 60)) is None
    with pytest.raises(ChunkError, match="more than 100 bytes"):
        join.add(piece(6, b"x" * 41, last=True))


def test_the_largest_does_not_use_up_what_the_others_share() -> None:
    join = joiner(limit=4 * MIB, budget=MIB)
    for _ in range(3):
        assert join.add(piece(4, b"x" * MIB)) is None
    for cid in (6, 8):
        assert join.add(piece(cid, b"y" * (MIB // 2 - UNFINISHED))) is None
    with pytest.raises(ChunkError, match="unfinished"):
        join.add(piece(10, b"z"))


def test_the_budget_comes_back_when_a_message_is_whole_or_dropped() -> None:
    join = joiner(limit=MIB, budget=MIB)
    for cid in range(20):
        join.add(piece(cid, b"x" * (MIB // 2)))
        if cid % 2:
            join.drop(cid)
        else:
            assert join.add(piece(cid, b"x", last=True)) is not None
    join.drop(99)  # of which nothing has come
    for cid in (1, 2):
        assert join.add(piece(cid, b"x" * (MIB // 2))) is None


def test_dropped_means_begun_anew() -> None:
    join = joiner()
    join.add(piece(4, b"old"))
    join.drop(4)
    assert join.add(piece(4, b"new", last=True)) == b"new"


@pytest.mark.parametrize("last", [False, True])
def test_empty_pieces_are_refused(last: bool) -> None:
    """Without bytes there would be no bound on how many."""
    with pytest.raises(ChunkError, match="empty"):
        joiner().add(piece(4, b"", last=last))


def test_messages_that_never_end_are_bounded() -> None:
    join = joiner(limit=1000, budget=1000)
    with pytest.raises(ChunkError):
        for _ in range(1001):
            join.add(piece(4, b"x"))


def test_messages_that_are_only_begun_are_bounded() -> None:
    join = joiner(limit=MIB, budget=MIB)
    begun = 0
    with pytest.raises(ChunkError, match="unfinished"):
        for cid in range(MIB):
            join.add(piece(cid, b"x"))
            begun += 1
    assert begun <= MIB // UNFINISHED + 1


def test_single_bytes_cost_no_more_than_their_number() -> None:
    join = joiner()
    frames = [bytearray(b"x" * 4096) for _ in range(1000)]
    for frame in frames:
        join.add(Chunk(4, False, memoryview(frame)[:1]))
        # Resizing fails while somebody holds a view: the frame a piece came in is not kept.
        frame.clear()
    whole = join.add(piece(4, b"x", last=True))
    assert whole is not None and sys.getsizeof(whole) < 4096
