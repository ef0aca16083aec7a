"""The splitter: any way the bytes arrive, the same frames come out, and no limit is passed."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tractor_core.errors import FrameTooLarge
from tractor_core.seams import Buffer, FrameSplitter, Place, pack_header
from tractor_core.seams.framing import HEADER_SIZE, LARGE_FRAME, PLACED_FRAME, PLACING_HEAD

LIMIT = 4 * LARGE_FRAME


def encoded(frames: list[bytes]) -> bytes:
    return b"".join(pack_header(len(frame)) + frame for frame in frames)


def split_at(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return [data[start:stop] for start, stop in itertools.pairwise(edges)]


def run(splitter: FrameSplitter, pieces: list[bytes], *, into_target: bool) -> list[bytes]:
    """Feed the pieces as a connection would; ``into_target`` reads large bodies in place."""
    frames: list[Buffer] = []
    for piece in pieces:
        left = memoryview(piece)
        while into_target and left and splitter.target is not None:
            count = min(len(left), len(splitter.target))
            splitter.target[:count] = left[:count]
            frames += splitter.filled(count)
            left = left[count:]
        frames += splitter.feed(bytes(left))
        while splitter.stalled:
            frames += splitter.feed(b"")
    return [bytes(frame) for frame in frames]


small = st.binary(max_size=300)
large = st.integers(LARGE_FRAME - 3, LARGE_FRAME + 5000).map(lambda size: b"\x01\x02\x03" * (size // 3))


@given(st.lists(small, max_size=30), st.lists(st.integers(0, 9000), max_size=20))
def test_any_split_gives_the_same_frames(frames: list[bytes], cuts: list[int]) -> None:
    splitter = FrameSplitter(LIMIT)
    assert run(splitter, split_at(encoded(frames), cuts), into_target=True) == frames
    assert not splitter.mid_frame


@given(
    st.lists(small | large, max_size=5), st.lists(st.integers(0, 4 * LARGE_FRAME), max_size=8), st.booleans()
)
def test_large_frames_too(frames: list[bytes], cuts: list[int], into_target: bool) -> None:
    splitter = FrameSplitter(LIMIT)
    assert run(splitter, split_at(encoded(frames), cuts), into_target=into_target) == frames
    assert not splitter.mid_frame
    assert splitter.target is None


def test_byte_by_byte() -> None:
    frames = [b"", b"a", b"", b"xyz" * 50]
    splitter = FrameSplitter(LIMIT)
    data = encoded(frames)
    assert run(splitter, [data[i : i + 1] for i in range(len(data))], into_target=True) == frames


def test_mid_frame_is_known_at_every_cut() -> None:
    data = encoded([b"hello", b"world"])
    for cut in range(len(data) + 1):
        splitter = FrameSplitter(LIMIT)
        splitter.feed(data[:cut])
        assert splitter.mid_frame == (cut not in (0, 9, 18))


def test_the_limit_holds_on_the_prefix_alone() -> None:
    splitter = FrameSplitter(100)
    with pytest.raises(FrameTooLarge, match=r"101 bytes.*limit of 100"):
        splitter.feed(pack_header(101))
    assert splitter.target is None


def test_a_huge_announcement_is_refused_without_a_buffer() -> None:
    splitter = FrameSplitter(64 * 1024)
    with pytest.raises(FrameTooLarge):
        splitter.feed(b"GET / HTTP/1.1\r\n\r\n")
    assert splitter.target is None


def test_refused_once_is_refused_for_ever() -> None:
    splitter = FrameSplitter(10)
    with pytest.raises(FrameTooLarge):
        splitter.feed(pack_header(11))
    splitter.max_frame = 1000
    for data in (b"", b"x" * 11, encoded([b"good"])):
        with pytest.raises(FrameTooLarge):
            splitter.feed(data)


def test_frames_before_the_long_one_come_first() -> None:
    splitter = FrameSplitter(10)
    assert splitter.feed(encoded([b"one", b"two"]) + pack_header(11)) == [b"one", b"two"]
    assert splitter.stalled
    with pytest.raises(FrameTooLarge):
        splitter.feed(b"")


@pytest.mark.parametrize("size", [11, 70_000, LARGE_FRAME + 1])
def test_the_limit_may_be_raised_by_the_frames_before(size: int) -> None:
    splitter = FrameSplitter(10)
    data = encoded([b"proof", b"z" * size, b"end"])
    assert splitter.feed(data[:40]) == [b"proof"]
    splitter.max_frame = size
    frames = splitter.feed(b"") + splitter.feed(data[40:])
    assert [bytes(frame) for frame in frames] == [b"z" * size, b"end"]


def test_returned_buffers_are_never_touched_again() -> None:
    splitter = FrameSplitter(LIMIT)
    body = b"q" * (LARGE_FRAME + 1)
    (first,) = splitter.feed(encoded([body]) + pack_header(len(body)) + b"p" * 100)[:1]
    assert isinstance(first, bytes)
    splitter.feed(b"p" * (len(body) - 100))
    assert first == body


def test_a_large_frame_is_read_into_one_exact_buffer() -> None:
    splitter = FrameSplitter(LIMIT)
    size = LARGE_FRAME + 10
    assert splitter.feed(pack_header(size) + b"abc") == []
    assert splitter.target is not None
    assert len(splitter.target) == size - 3
    splitter.target[:] = b"d" * (size - 3)
    (frame,) = splitter.filled(size - 3)
    assert bytes(frame) == b"abc" + b"d" * (size - 3)
    with pytest.raises(RuntimeError):
        splitter.filled(1)


@given(st.binary(max_size=2000), st.lists(st.integers(0, 2000), max_size=10))
def test_garbage_gives_frames_or_a_refusal(data: bytes, cuts: list[int]) -> None:
    splitter = FrameSplitter(1000)
    try:
        frames = run(splitter, split_at(data, cuts), into_target=True)
    except FrameTooLarge:
        return
    assert data.startswith(encoded(frames))


class Shelf:
    """Takes the data of frames that begin with ``@``, three bytes of head left out."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.memory: list[bytearray] = []
        self.answer: bytes | None = None

    def place(self, frame: memoryview, length: int) -> Place | None:
        assert PLACING_HEAD <= len(frame) < length
        self.asked.append(length)
        if bytes(frame[:1]) != b"@":
            return None
        self.memory.append(bytearray(length - 3))
        return Place(3, memoryview(self.memory[-1]), lambda: self.answer)


def shelved() -> tuple[FrameSplitter, Shelf]:
    splitter, shelf = FrameSplitter(LIMIT), Shelf()
    splitter.placer = shelf.place
    return splitter, shelf


@given(st.lists(st.sampled_from([0, 50, PLACED_FRAME + 1, LARGE_FRAME]), max_size=6), st.data())
def test_any_split_puts_the_same_data_into_places(sizes: list[int], draw: st.DataObject) -> None:
    frames = [b"@--" + bytes([index + 1]) * size for index, size in enumerate(sizes)]
    stream = encoded(frames)
    cuts = draw.draw(st.lists(st.integers(0, len(stream)), max_size=12))
    splitter, shelf = shelved()
    seen: list[bytes] = []
    for piece in split_at(stream, cuts):
        splitter.settle()
        placed = len(shelf.memory)
        assert placed == 0 or len(shelf.memory[-1]) > PLACED_FRAME - 3
        seen += run(splitter, [piece], into_target=True)
    # A place that was filled takes the turn of its frame: both kinds together are all there were.
    assert sorted(seen + [b"@--" + memory for memory in shelf.memory]) == sorted(frames)
    assert not splitter.mid_frame


def test_what_a_filled_place_returns_is_a_frame_in_its_turn() -> None:
    splitter, shelf = shelved()
    shelf.answer = b"done"
    size = PLACED_FRAME + 100
    stream = encoded([b"@--" + b"x" * size, b"next"])
    assert splitter.feed(stream[:1000]) == []
    assert splitter.target is None
    splitter.settle()
    assert splitter.target is not None and len(splitter.target) == size + 3 + HEADER_SIZE - 1000
    assert splitter.mid_frame
    assert splitter.feed(stream[1000:]) == [b"done", b"next"]
    assert shelf.memory == [b"x" * size]
    assert not splitter.mid_frame


@pytest.mark.parametrize(
    ("size", "arrived"),
    [(PLACED_FRAME, 1000), (PLACED_FRAME + 1, PLACING_HEAD - 1), (LIMIT + 1, 1000), (LARGE_FRAME + 1, 1000)],
    ids=["small", "too little of it", "over the limit", "has a buffer"],
)
def test_no_place_is_asked_for(size: int, arrived: int) -> None:
    splitter, shelf = shelved()
    stream = pack_header(size) + b"@" * arrived
    if size > LIMIT:
        splitter.max_frame = size
        splitter.feed(stream[:3])
        splitter.max_frame = LIMIT
    else:
        splitter.feed(stream)
    splitter.settle()
    assert shelf.asked == []


def test_what_is_refused_a_place_arrives_as_ever() -> None:
    splitter, shelf = shelved()
    body = b"-" * (PLACED_FRAME + 1)
    stream = encoded([body])
    assert splitter.feed(stream[:500]) == []
    splitter.settle()
    assert splitter.target is None and shelf.asked == [len(body)]
    assert splitter.feed(stream[500:]) == [body]
