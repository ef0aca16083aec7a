"""Large messages under way at once: never more than an honest receiver holds."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
import trio.testing

from tractor_core.ipc import sending
from tractor_core.ipc.sending import SendingHalf
from tractor_core.msg.codec import wire_codec
from tractor_core.msg.types import Chunk
from tractor_core.protocol.chunks import WHOLE_UP_TO, Joiner
from tractor_core.seams import Buffer

CODEC = wire_codec()


class Pipe:
    """Takes everything and keeps it."""

    pending = False
    max_send_frame = None

    def __init__(self) -> None:
        self.frames: list[bytes] = []

    def send_nowait(self, frames: Sequence[Buffer]) -> int:
        self.frames += map(bytes, frames)
        return len(frames)


class Narrow(Pipe):
    """Takes one frame; somebody else makes room for the next."""

    def __init__(self) -> None:
        super().__init__()
        self.pending = False
        self._room = trio.lowlevel.ParkingLot()

    def send_nowait(self, frames: Sequence[Buffer]) -> int:
        if self.pending:
            return 0
        self.pending = True
        return super().send_nowait(frames[:1])

    async def flush(self) -> None:
        while self.pending:
            await self._room.park()

    def make_room(self) -> None:
        self.pending = False
        self._room.unpark_all()


class Writes(Pipe):
    """Keeps what came with one call together."""

    def __init__(self) -> None:
        self.writes: list[list[bytes]] = []

    def send_nowait(self, frames: Sequence[Buffer]) -> int:
        self.writes.append([bytes(frame) for frame in frames])
        return len(frames)


async def test_frames_in_full_flow_share_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe, now = Writes(), 100.0
    monkeypatch.setattr(sending, "perf_counter", lambda: now)
    half = SendingHalf(pipe, CODEC.encode)  # type: ignore[arg-type]
    for number in range(5):
        half.post_frame(b"%d" % number, 0)
        now += sending.COALESCE * 0.4
    # The first at once, the next ones when there were enough, the last not yet.
    assert pipe.writes == [[b"0"], [b"1", b"2", b"3"]]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(half._flush_forever)
        await trio.testing.wait_all_tasks_blocked()
        assert pipe.writes[2:] == [[b"4"]]
        # What is lazy waits for the end of the tick, or for company.
        now += 1
        half.post_frame(b"lazy", 0, lazy=True)
        assert len(pipe.writes) == 3
        half.post_frame(b"5", 0)
        assert pipe.writes[3:] == [[b"lazy", b"5"]]
        # A lone one does not wait.
        now += 1
        half.post_frame(b"6", 0)
        assert pipe.writes[4:] == [[b"6"]]
        nursery.cancel_scope.cancel()


async def test_a_frame_posted_the_moment_there_is_room_does_not_overtake(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where another task than the flusher makes room, that one has yet to be scheduled."""
    now = 100.0
    monkeypatch.setattr(sending, "perf_counter", lambda: now)
    pipe = Narrow()
    half = SendingHalf(pipe, CODEC.encode)  # type: ignore[arg-type]
    expected = [b"%d" % number for number in range(8)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(half._flush_forever)
        for frame in expected[:4]:
            half.post_frame(frame, 0)
        await trio.testing.wait_all_tasks_blocked()
        for frame in expected[4:]:
            pipe.make_room()
            await trio.testing.wait_all_tasks_blocked()
            now += 1
            pipe.make_room()
            half.post_frame(frame, 0)
        drained = trio.Event()

        async def drain() -> None:
            await half.drained()
            drained.set()

        pipe.make_room()
        nursery.start_soon(drain)
        while not drained.is_set():
            await trio.testing.wait_all_tasks_blocked()
            pipe.make_room()
        assert pipe.frames == expected
        nursery.cancel_scope.cancel()


async def test_a_cancelled_flush_loses_nothing() -> None:
    """On a raw channel who sends flushes, and may give up on that."""
    pipe = Narrow()
    half = SendingHalf(pipe, CODEC.encode)  # type: ignore[arg-type]
    expected = [b"%d" % number for number in range(5)]
    for frame in expected:
        half.post_frame(frame, 0, lazy=True)
    for _ in expected:
        with trio.move_on_after(0):
            await half._flush_all()
        pipe.make_room()
    assert pipe.frames == expected


@pytest.mark.parametrize("sizes", [[9, 9, 9, 9], [20, 3, 3, 3], [3, 20, 3, 20], [5], [1, 1, 1, 1, 1, 1]])
async def test_what_is_unfinished_fits_the_receiver(
    sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    unit = WHOLE_UP_TO
    monkeypatch.setattr(sending, "UNFINISHED_MAX", 4 * unit)
    pipe = Pipe()
    half = SendingHalf(pipe, CODEC.encode)  # type: ignore[arg-type]
    for index, size in enumerate(sizes):
        half.post_frame(bytes([index]) * (size * unit + 1), index)
    await half._flush_all()
    # The receiver's budget is what the sender keeps to, and the count of each message besides.
    joiner = Joiner(limit=100 * unit, budget=4 * unit + 512 * len(sizes))
    whole = {}
    for frame in pipe.frames:
        chunk = CODEC.decode(frame)
        assert isinstance(chunk, Chunk)
        message = joiner.add(chunk)
        if message is not None:
            whole[chunk.cid] = message
    assert {cid: len(message) for cid, message in whole.items()} == {
        index: size * unit + 1 for index, size in enumerate(sizes)
    }
    assert all(set(message) == {cid} for cid, message in whole.items())


async def test_two_that_fit_take_turns() -> None:
    pipe = Pipe()
    half = SendingHalf(pipe, CODEC.encode)  # type: ignore[arg-type]
    half.post_frame(b"a" * (WHOLE_UP_TO * 4), 0)
    half.post_frame(b"b" * (WHOLE_UP_TO * 4), 2)
    await half._flush_all()
    order = [CODEC.decode(frame).cid for frame in pipe.frames]  # type: ignore[union-attr]
    assert order == [0, 2] * (len(order) // 2)


async def test_who_waits_for_room_is_told_by_size() -> None:
    """Beyond ``most`` bytes in lanes large ones wait; small ones and the lane's own order do not change."""
    unit = WHOLE_UP_TO
    half = SendingHalf(Pipe(), CODEC.encode, most=4 * unit)  # type: ignore[arg-type]
    large = unit + 1
    for cid in (0, 2, 4, 6):
        assert not half.clogged(cid, large)
        half.post_frame(b"x" * large, cid)
    assert half.clogged(8, large)
    assert not half.clogged(8, unit)
    assert not half.clogged(8)
    # Behind one's own large message everything waits.
    assert half.clogged(0)
    waited = []

    async def wait(cid: int, size: int) -> None:
        await half.room(cid, size)
        waited.append((cid, half._laned))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, 8, large)
        nursery.start_soon(wait, 0, 10)
        await trio.testing.wait_all_tasks_blocked()
        assert waited == []
        await half._flush_all()
    assert {cid for cid, _ in waited} == {0, 8}
    assert all(left <= 4 * unit for _, left in waited)


async def test_a_lost_connection_leaves_nobody_waiting_for_room() -> None:
    half = SendingHalf(Pipe(), CODEC.encode, most=1)  # type: ignore[arg-type]
    half.post_frame(b"x" * (WHOLE_UP_TO * 3), 0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(half.room, 2, WHOLE_UP_TO * 3)
        nursery.start_soon(half.room, 0)
        await trio.testing.wait_all_tasks_blocked()
        half._lose()
    assert not half._waiting


async def test_what_is_withheld_counts_while_it_waits() -> None:
    half = SendingHalf(Pipe(), CODEC.encode)  # type: ignore[arg-type]
    with trio.move_on_after(0):
        with half.withholding(1000):
            assert half.withheld == 1000
            await trio.sleep_forever()
    assert half.withheld == 0
