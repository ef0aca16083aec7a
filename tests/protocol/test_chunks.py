"""Cutting large messages and joining them, also from peers that cut strangely."""

from __future__ import annotations

import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tractor_core.msg.codec import wire_codec
from tractor_core.msg.gathered import Gathered
from tractor_core.msg.types import Chunk
from tractor_core.protocol.chunks import CHUNK, HEAD_MAX, UNFINISHED, ChunkError, Cutter, Joiner, read_head

MIB = 1024 * 1024
CODEC = wire_codec()


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
    assert isinstance(whole, bytearray) and sys.getsizeof(whole) < 4096


# -- sizes that are told, and places for what comes --------------------------------------------------


def first(cid: int, data: bytes, total: int, *, last: bool = False) -> Chunk:
    return Chunk(cid, last, memoryview(data), total)


def test_the_first_piece_tells_the_size_of_the_whole() -> None:
    assert [chunk.size for chunk in pieces(4, b"x" * 100, 40)] == [100, 0, 0]


@given(
    buffers=st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=6),
    step=st.integers(1, 200),
    cid=st.integers(-2, 2**62),
)
def test_gathered_pieces_are_the_same_messages(buffers: list[bytes], step: int, cid: int) -> None:
    whole = b"".join(buffers)
    gathered = Cutter(cid, Gathered(buffers), step)
    for expected in pieces(cid, whole, step):
        frame = b"".join(gathered.next_gathered())
        assert CODEC.decode(frame) == expected
    assert gathered.left == 0


@given(step=st.integers(1, 400), cid=st.integers(0, 2**62))
def test_pieces_go_straight_to_their_place(step: int, cid: int) -> None:
    message = bytes(range(256)) * 4
    cutter, join, whole = Cutter(cid, message, step), joiner(), None
    placed = 0
    while cutter.left:
        frame = memoryview(b"".join(cutter.next_gathered()))
        place = join.place(frame, len(frame))
        if place is None:
            whole = join.add(CODEC.decode(frame))  # type: ignore[arg-type]
        else:
            assert len(place.memory) == len(frame) - place.start
            place.memory[:] = frame[place.start :]
            whole = place.finish()  # type: ignore[assignment]
            placed += 1
    assert whole == message
    # All but the first, and a last one too short for its head to be told apart from its data.
    assert placed >= -(-len(message) // step) - 2 or step < HEAD_MAX


def test_the_place_is_in_the_message_itself() -> None:
    join = joiner()
    assert join.add(first(4, b"a" * 20, 120)) is None
    frame = memoryview(b"".join(_second(4, b"b" * 100)))
    place = join.place(frame[:64], len(frame))
    assert place is not None
    place.memory[:] = b"b" * 100
    whole = place.finish()
    assert whole == b"a" * 20 + b"b" * 100
    assert place.memory.obj is whole


def _second(cid: int, data: bytes) -> tuple[bytes | memoryview, ...]:
    cutter = Cutter(cid, b"x" * 20 + data)
    cutter._step = 20
    cutter.next()
    cutter._step = len(data)
    return cutter.next_gathered()


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\x94\x10",
        CODEC.encode(Chunk(4, True, memoryview(b"b" * 100))),
        b"\x94\x11" + b"".join(_second(4, b"b" * 100))[2:],
        b"".join(_second(6, b"b" * 100)),
        b"".join(_second(4, b"b" * 101)),
        b"".join(_second(4, b"b" * 99)),
        b"\x94\x10\xd0" + b"".join(_second(4, b"b" * 100))[3:],
        b"\x94\x10\x04\xc0" + b"".join(_second(4, b"b" * 100))[4:],
        b"\x94\x10\x04\xc3\xc6\xff\xff\xff\xff" + b"b" * 100,
        b"\x94\x10\x04\xc3\xa5" + b"b" * 100,
    ],
    ids=[
        "nothing", "its beginning", "five fields", "another message", "another dialog", "too long",
        "too short for the last", "a signed number", "no flag", "a length that lies", "text",
    ],
)  # fmt: skip
def test_what_has_no_place(frame: bytes) -> None:
    join = joiner()
    join.add(first(4, b"a" * 20, 120))
    assert join.place(memoryview(frame), len(frame)) is None
    # And nothing has changed by being asked.
    assert join.add(piece(4, b"b" * 100, last=True)) == b"a" * 20 + b"b" * 100


@given(st.binary(max_size=80), st.integers(0, 200))
def test_no_head_is_too_strange(frame: bytes, length: int) -> None:
    for start in (b"", b"\x94\x10"):
        head = read_head(memoryview(start + frame), length)
        assert head is None or 0 < head.start <= length


def test_a_message_whose_size_was_not_told_has_no_places() -> None:
    join = joiner()
    join.add(piece(4, b"a" * 20))
    frame = memoryview(b"".join(_second(4, b"b" * 100)))
    assert join.place(frame, len(frame)) is None


@pytest.mark.parametrize(
    ("total", "second", "last"), [(100, 81, False), (100, 81, True), (100, 79, True), (-1, 1, False)]
)
def test_a_size_that_was_not_true_ends_it(total: int, second: int, last: bool) -> None:
    join = joiner()
    with pytest.raises(ChunkError, match="of a message of"):
        join.add(first(4, b"x" * 20, total))
        join.add(piece(4, b"x" * second, last=last))


def test_a_size_counts_when_it_is_told() -> None:
    """What is only announced uses up the budget as if it were there: so no memory is had for a promise."""
    join = joiner(limit=4 * MIB, budget=MIB)
    with pytest.raises(ChunkError, match="more than 4194304 bytes"):
        join.add(first(2, b"x", 4 * MIB + 1))
    join.add(first(4, b"x", 4 * MIB))
    join.add(first(6, b"x", MIB - UNFINISHED))
    with pytest.raises(ChunkError, match="unfinished"):
        join.add(first(8, b"x", 2))
    join.drop(4)
    join.add(first(8, b"x", MIB // 2 - UNFINISHED))


def test_a_large_size_costs_nothing_until_it_comes() -> None:
    join = joiner(limit=2**40, budget=MIB)
    before = resident()
    join.add(first(4, b"x", 2**30))
    assert resident() - before < 64 * MIB


def test_more_than_there_is_memory_for_ends_it() -> None:
    join = joiner(limit=2**62, budget=MIB)
    with pytest.raises(ChunkError, match="no memory"):
        join.add(first(4, b"x", 2**61))


def test_a_chunk_of_a_chunk_has_no_place_either() -> None:
    join = joiner()
    inner = bytes(CODEC.encode(Chunk(4, True, memoryview(b"y" * 100))))
    join.add(first(4, inner[:20], len(inner)))
    frame = memoryview(b"".join(_second(4, inner[20:])))
    place = join.place(frame, len(frame))
    assert place is not None
    place.memory[:] = frame[place.start :]
    with pytest.raises(ChunkError, match="chunk inside a chunk"):
        place.finish()


def resident() -> int:
    """Bytes of memory that this process has now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
