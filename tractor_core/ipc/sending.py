"""The sending half of a channel: when a message is written, with which others, and in which order.

Everything that is sent goes through :meth:`SendingHalf.post_frame`, so coalescing, tracing and fault
injection have one home.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from time import perf_counter
from typing import Any, TypeAlias, TypeGuard, cast

import trio

from tractor_core.errors import TransportClosed
from tractor_core.msg import types as m
from tractor_core.msg.gathered import Gathered
from tractor_core.protocol.chunks import CHUNK, DIRECT_CHUNK, UNFINISHED, WHOLE_UP_TO, Cutter
from tractor_core.seams import Connection, DirectConnection, Frame, as_direct
from tractor_core.trionics import collapse_eg

from .sharing import Lending

#: A frame posted less than this many seconds after the last write waits, to share one system call with its
#: successors: until one of them is posted later than that, or the scheduler's tick ends. A lone frame is
#: written at once. (Values of a stream come 2 to 3 us after each other, the calls of many tasks, or their
#: answers, 10: the peer works on those that share a write meanwhile. A request and its answer are never
#: this close.)
COALESCE = 30e-6

#: The same where none waits yet. To wait for the tick's end costs as much as a system call, and gains nothing
#: for two frames alone, such as a context's first value and its result, which come 20 us after each other.
COALESCE_ALONE = 12e-6

#: At most so many messages in shared memory are told of together; fewer at the end of the tick. For each
#: value of 1 MiB that woke its reader alone, that took twice the time, and its sender a fifth more.
LENT_TOGETHER = 8

#: Bytes handed to the transport at once by the flusher.
BATCH = 256 * 1024

#: Bytes of large messages handed to the transport before the rest of the actor has its turn: what a
#: small frame may have to wait for here, and few enough turns to keep up with a copy.
TURN = 64 * 1024

#: Bytes of large messages under way at once, the largest not counted: a fraction of what a receiver
#: holds by default (``Limits.max_buffered``), so that honest senders never exceed it.
UNFINISHED_MAX = 64 * 1024 * 1024

#: What a queued frame costs beside its bytes, about: a flood of tiny ones is mostly this.
FRAME_COST = 64

#: A message on its way through a lane.
_InLane: TypeAlias = bytes | Cutter

#: In place of a context id: order against large messages does not matter.
NO_LANE = -2

#: Under this wait those that found too much in the lanes of others. No context id is below -2.
ANY_LANE = -3


class SendingHalf:
    """Queues, cuts and writes frames. Small ones are written at once; one task writes what is left.

    A message too large for one frame goes in pieces, in the *lane* of its dialog: frames of that dialog
    keep their order behind it, those of others overtake it.

    ``most`` bounds the bytes of large messages that wait, one more not counted: whoever may wait
    (:meth:`room`) does so before it adds to them. ``bounds`` is what the peer said that it takes.
    ``binary`` says that ``encode`` makes messagepack, of which pieces are sent from where they are.
    """

    def __init__(
        self,
        connection: Connection,
        encode: Callable[[m.Message], bytes],
        most: int = UNFINISHED_MAX,
        bounds: m.Bounds = m.UNSAID,
        *,
        binary: bool = False,
    ) -> None:
        self.connection = connection
        self._direct = as_direct(connection) if binary else None
        #: Where large messages go before any lane, if it has a place.
        self._lending: Lending | None = None
        self._most = most
        self._unfinished = min(UNFINISHED_MAX, bounds.max_buffered or UNFINISHED_MAX)
        self._encode = encode
        #: Whether it has ended or is being closed: nothing more may be sent.
        self.closed = False
        self._lost = False
        #: Small frames, and their bytes.
        self._queue: deque[bytes] = deque()
        self._queued = 0
        #: What the flusher has in hand. Nothing may be written past it, also where the connection has
        #: room again and the flusher has not had its turn yet; and it outlives a flush that is cancelled.
        self._batch: list[Frame] = []
        self._last_write = 0.0
        #: Large messages and what waits behind them, by dialog, and the bytes of all.
        self._lanes: dict[int, deque[_InLane]] = {}
        self._laned = 0
        #: Bytes of results that wait for room, not encoded.
        self.withheld = 0
        #: Who waits for room, by dialog for its lane and under ``NO_LANE`` for the queue.
        self._waiting: dict[int, trio.lowlevel.ParkingLot] = {}
        #: Dialogs whose request is still on its way out: nothing may overtake that.
        self._starting: set[int] = set()
        #: Tells who waits for it, if somebody does, that there is something to write.
        self._flusher: Callable[[], object] | None = None
        self._flush_due = False
        #: Whether a task writes in :meth:`_flush_in_turn`.
        self._flushing = False
        self._drained = trio.lowlevel.ParkingLot()
        frame = min(connection.max_send_frame or WHOLE_UP_TO, bounds.max_frame or WHOLE_UP_TO)
        self._chunk = min(CHUNK if self._direct is None else DIRECT_CHUNK, frame - 64)
        #: Longer messages go in pieces (bytes).
        self.whole_up_to = min(WHOLE_UP_TO, frame)
        #: Frames longer than this are lent, where that is possible.
        self._lend_from = self.whole_up_to

    def _refusal(self) -> TransportClosed:
        """Why nothing can be sent any more."""
        return TransportClosed("channel is closed")

    def post_frame(self, frame: bytes | Gathered, cid: int, *, lazy: bool = False) -> None:
        """Send an encoded message of dialog ``cid`` without waiting.

        ``NO_LANE`` as ``cid`` lets it overtake a large message that is on its way.
        """
        if self.closed:
            raise self._refusal()
        if isinstance(frame, Gathered) or len(frame) > self._lend_from:
            lent = None if self._lending is None else self._lending.lend(frame)
            if lent is not None:
                frame = lent
                lazy = lazy or len(self._queue) < LENT_TOGETHER - 1
            elif isinstance(frame, Gathered) or len(frame) > self.whole_up_to:
                self._post_in_lane(frame, cid)
                return
        if self._lanes and cid in self._lanes:
            self._post_in_lane(frame, cid)
            return
        if not lazy and not self.connection.pending and not self._batch and not self._lanes:
            now = perf_counter()
            if now - self._last_write > (COALESCE if self._queue else COALESCE_ALONE):
                self._last_write = now
                self._write(frame)
                return
        self._queue.append(frame)
        self._queued += len(frame)
        if not self._flush_due:
            self._wake_flusher()

    def _write(self, frame: bytes) -> None:
        connection = self.connection
        frames: Sequence[bytes] = (frame,)
        if self._queue:
            self._queue.append(frame)
            frames, self._queue, self._queued = self._queue, deque(), 0
            frames = list(frames)
        try:
            taken = connection.send_nowait(frames)
        except (TransportClosed, trio.ClosedResourceError):
            # The reader learns the same and ends the channel with the reason; what is sent to a
            # dead peer in the meantime is lost, as it would be on the wire.
            return
        if taken < len(frames):
            rest = frames[taken:]
            self._queue.extendleft(reversed(rest))
            self._queued += sum(map(len, rest))
            self._wake_flusher()
        elif connection.pending:
            self._wake_flusher()

    def _post_in_lane(self, frame: bytes | Gathered, cid: int) -> None:
        """Queue behind, or as, a message that goes in chunks; other dialogs overtake it."""
        lane = self._lanes.setdefault(cid, deque())
        if isinstance(frame, Gathered) or len(frame) > self.whole_up_to:
            lane.append(Cutter(cid, frame, self._chunk))
        else:
            lane.append(frame)
        self._laned += len(frame)
        self._wake_flusher()

    def _wake_flusher(self) -> None:
        self._flush_due = True
        wake, self._flusher = self._flusher, None
        if wake is not None:
            wake()

    @property
    def backlog(self) -> int:
        """Memory that the small frames cost which the transport has not taken yet, about (bytes)."""
        return self._queued + FRAME_COST * len(self._queue)

    def clogged(self, cid: int, size: int = 0) -> bool:
        """Whether a well-behaved sender of ``size`` bytes to dialog ``cid`` should wait for :meth:`room`.

        Large messages of other dialogs are no reason for a small one: it overtakes them.
        """
        if self._queued > BATCH:
            return True
        if self._laned <= BATCH:
            return False
        return cid in self._lanes or (size > self.whole_up_to and self._laned > self._most)

    async def room(self, cid: int, size: int = 0) -> None:
        """Wait until dialog ``cid`` may add to what waits to be written (or the channel ended)."""
        while self.clogged(cid, size) and not self._lost:
            key = NO_LANE if self._queued > BATCH else cid if cid in self._lanes else ANY_LANE
            await self._waiting.setdefault(key, trio.lowlevel.ParkingLot()).park()

    @contextmanager
    def withholding(self, size: int) -> Iterator[None]:
        """Count ``size`` bytes as withheld during the block."""
        self.withheld += size
        try:
            yield
        finally:
            self.withheld -= size

    def _make_room(self, key: int) -> None:
        lot = self._waiting.pop(key, None)
        if lot is not None:
            lot.unpark_all()

    def _all_written(self) -> None:
        self._drained.unpark_all()
        for key in list(self._waiting):
            self._make_room(key)

    async def drained(self) -> None:
        """Wait until what was posted has been handed to the transport (or the channel ended)."""
        while self._unwritten() and not self._lost:
            await self._drained.park()

    def _unwritten(self) -> bool:
        return bool(self._queue or self._batch or self._lanes or self.connection.pending)

    async def _flush_forever(self) -> None:
        """The one task that writes what could not be written at once."""
        while True:
            if not self._flush_due:
                await self._park_flusher()
            self._flush_due = False
            # Let the tick end first: what is posted in it shares the write.
            await trio.lowlevel.checkpoint()
            await self._flush_all()
            self._all_written()

    async def _park_flusher(self) -> None:
        self._flusher = partial(trio.lowlevel.reschedule, trio.lowlevel.current_task())

        def abort(_: Any) -> trio.lowlevel.Abort:
            self._flusher = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    async def _flush_in_turn(self) -> None:
        """Wait until all is written (or the channel ended), where no task does so for ever.

        One of those that wait here writes for all; where it fails or is cancelled, another goes on.
        """
        while self._unwritten() and not self._lost:
            if self._flushing:
                await self._drained.park()
                continue
            self._flushing = True
            try:
                await self._flush_all()
            finally:
                self._flushing = False
                self._all_written()

    async def _flush_beside(self, read: Callable[[], Awaitable[None]]) -> None:
        """Run ``read`` so that a clogged path does not delay it, nor its waiting what there is to write.

        It is cancelled where the path gets clogged, or is free again: to be run anew where it did nothing.
        """
        if self._unwritten():
            async with collapse_eg(), trio.open_nursery() as nursery:
                nursery.start_soon(self._flush_until_done, nursery.cancel_scope)
                await read()
                nursery.cancel_scope.cancel()
            return
        self._flush_due = False
        with trio.CancelScope() as scope:
            self._flusher = scope.cancel
            try:
                await read()
            finally:
                self._flusher = None

    async def _flush_until_done(self, reading: trio.CancelScope) -> None:
        # An end shows where it is read too, perhaps behind frames that are still to be delivered.
        with suppress(TransportClosed, trio.ClosedResourceError):
            await self._flush_in_turn()
            reading.cancel()

    async def _flush_all(self) -> None:
        # Frames are in several buffers only where it is one.
        connection = cast("DirectConnection", self.connection)
        while self._unwritten():
            if connection.pending:
                await connection.flush()
            if not self._batch:
                self._batch = self._next_batch()
            waited = False
            while self._batch:
                del self._batch[: connection.send_nowait(self._batch)]
                if self._batch or connection.pending:
                    await connection.flush()
                    waited = True
            if self._lending is not None and self._lending.due:
                self._lending.hand_over()
            if self._lanes and not waited:
                # Chunks give way: to small frames of others, and to the readers of this actor. Whoever
                # has waited for the kernel has done so.
                await trio.lowlevel.checkpoint()

    def _next_batch(self) -> list[Frame]:
        batch: list[Frame] = []
        size = 0
        while self._queue and size < BATCH:
            frame = self._queue.popleft()
            size += len(frame)
            self._queued -= len(frame)
            batch.append(frame)
        if not self._queue:
            # Not before: in the round in which the queue is empty, the lanes have their turn.
            self._make_room(NO_LANE)
            while self._lanes and size < TURN:
                left = self._laned
                batch.append(self._next_from_lanes())
                size += left - self._laned
        return batch

    def _may_go(self, head: _InLane) -> bool:
        """Whether the receiver can hold this message too, besides those that are unfinished there."""
        if not isinstance(head, Cutter) or head.begun:
            return True
        under_way = [lane[0].size + UNFINISHED for lane in self._lanes.values() if _is_begun(lane[0])]
        size = head.size + UNFINISHED
        # The largest of all has a budget of its own at the receiver.
        return not under_way or sum(under_way) + size - max(*under_way, size) <= self._unfinished

    def _next_from_lanes(self) -> Frame:
        """One piece of the lane whose turn it is; lanes take turns.

        There is always one: whichever has begun may go on, and the first may begin where none has.
        """
        cid, lane = next((cid, lane) for cid, lane in self._lanes.items() if self._may_go(lane[0]))
        del self._lanes[cid]
        head = lane[0]
        frame: Frame
        if isinstance(head, Cutter):
            before = head.left
            frame = self._encode(head.next()) if self._direct is None else head.next_gathered()
            self._laned -= before - head.left
            if not head.left:
                lane.popleft()
        else:
            frame = head
            self._laned -= len(head)
            lane.popleft()
        if lane:
            self._lanes[cid] = lane
        else:
            self._starting.discard(cid)
            self._make_room(cid)
        if self._laned * 2 <= self._most:
            # No earlier: there may be many, of whom each chunk would let in one.
            self._make_room(ANY_LANE)
        return frame

    def _lose(self) -> None:
        """The connection is gone, and what was queued with it."""
        self._lost = True
        self._queue.clear()
        self._batch.clear()
        self._lanes.clear()
        self._starting.clear()
        self._queued = self._laned = 0
        self._all_written()


def _is_begun(head: _InLane) -> TypeGuard[Cutter]:
    return isinstance(head, Cutter) and head.begun
