"""Channel: messages to and from one authenticated peer, over whatever connection carries them.

One task reads (:meth:`Channel.run`), taking all that has arrived and handing each message, synchronously,
to the dialog it names. Everything that is sent goes through :meth:`Channel.post_frame`, so
coalescing, tracing and fault injection have one home.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import Any, Protocol, TypeAlias

import msgspec
import trio

from tractor_core.errors import FrameTooLarge, MsgTooLarge, TransportClosed
from tractor_core.msg import types as m
from tractor_core.msg.codec import wire_codec
from tractor_core.protocol.chunks import CHUNK, WHOLE_UP_TO, ChunkError, Cutter, Joiner
from tractor_core.protocol.handshake import Peer
from tractor_core.seams import Address, Buffer, Connection

from .limits import Limits

#: A frame written less than this many seconds after the last one waits for the end of the scheduler's
#: tick, to share one system call with its successors; a lone frame is written at once. (A system
#: call costs about 4 us on loopback, so twice that is a sender in full flow; a request and its
#: answer are never this close.)
COALESCE = 12e-6

#: Bytes handed to the transport at once by the flusher.
BATCH = 256 * 1024

#: In place of a context id: order against large messages does not matter.
NO_LANE = -2

#: Messages that may overtake a large one of their own dialog.
_URGENT = (m.Cancel, m.CancelAck, m.Credit)


#: May replace the reason for which a channel ended by a better one ("the child was killed").
Explain: TypeAlias = "Callable[[Channel, TransportClosed], Awaitable[TransportClosed]]"


class Sink(Protocol):
    """What a channel delivers a dialog's messages to."""

    def deliver(self, message: Any) -> None:
        """Take one message, synchronously."""
        ...

    def cut(self, error: TransportClosed) -> None:
        """The channel is gone."""
        ...


class Channel:
    """A path for messages to one peer.

    ``dialogs`` maps context ids to whoever takes their messages. Context ids are even where this side
    dialled and odd where it accepted, so both can open dialogs without asking.
    """

    def __init__(self, connection: Connection, peer: Peer, limits: Limits, *, dialled: bool) -> None:
        self.connection = connection
        self.peer = peer
        self.limits = limits
        self.dialled = dialled
        self.dialogs: dict[int, Sink] = {}
        #: Why it ended; None while it is open.
        self.closed_by: TransportClosed | None = None
        #: Asked, when it ends, for a better reason before the dialogs are told.
        self.explain: Explain | None = None
        self.codec = wire_codec(peer.codec)
        self._encode = self.codec.encode
        self._next_cid = 0 if dialled else 1
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._last_write = 0.0
        self._lanes: dict[int, deque[bytes | Cutter]] = {}
        self._joiner = Joiner(limit=limits.max_payload, budget=limits.max_buffered)
        self._flusher: trio.lowlevel.Task | None = None
        self._flush_due = False
        self._closing = False
        self._drained = trio.lowlevel.ParkingLot()
        self._ended = trio.Event()
        self._reading = False
        self._unread: deque[m.Message] = deque()
        self._leftover: Sequence[Buffer] = ()
        step = connection.max_send_frame
        self._chunk = CHUNK if step is None else min(CHUNK, step - 64)
        self._whole = WHOLE_UP_TO if step is None else min(WHOLE_UP_TO, step)

    # -- facts ------------------------------------------------------------------------------------

    @property
    def aid(self) -> m.Aid:
        """The peer's identity."""
        return self.peer.aid

    @property
    def uid(self) -> tuple[str, str]:
        """The peer as the legacy pair."""
        return self.peer.aid.uid

    @property
    def laddr(self) -> Address:
        return self.connection.local

    @property
    def raddr(self) -> Address:
        return self.connection.remote

    @property
    def closed(self) -> bool:
        return self.closed_by is not None or self._closing

    def connected(self) -> bool:
        """Whether messages can be exchanged now."""
        return not self.closed

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        return f"<Channel to {self.aid} over {self.raddr.url or self.laddr.url} {state}>"

    # -- sending ----------------------------------------------------------------------------------

    def new_cid(self) -> int:
        """A context id for a dialog opened here."""
        cid = self._next_cid
        self._next_cid = cid + 2
        return cid

    def encode(self, message: m.Message) -> bytes:
        """Encode for this peer; ``MsgTooLarge`` over ``Limits.max_payload``, ``TypeError`` or
        ``ValueError`` naming the path for what cannot be encoded."""
        frame = self._encode(message)
        if len(frame) > self.limits.max_payload:
            raise MsgTooLarge(
                f"message of {len(frame)} bytes is over the limit of {self.limits.max_payload} "
                "(Limits.max_payload)",
                size=len(frame),
                limit=self.limits.max_payload,
            )
        return frame

    def post(self, message: m.Message, *, lazy: bool = False) -> None:
        """Send without waiting. ``lazy`` messages wait for the next one, or the end of the tick.

        Raises ``TransportClosed`` when the channel has ended, and what :meth:`encode` raises.
        """
        cid = NO_LANE if isinstance(message, _URGENT) else getattr(message, "cid", NO_LANE)
        self.post_frame(self.encode(message), cid, lazy=lazy)

    def post_frame(self, frame: bytes, cid: int, *, lazy: bool = False) -> None:
        """Send an encoded message of dialog ``cid`` without waiting.

        ``NO_LANE`` as ``cid`` lets it overtake a large message that is on its way.
        """
        if self.closed_by is not None or self._closing:
            raise self.closed_by or TransportClosed(f"channel to {self.aid} is closed")
        if len(frame) > self._whole or (self._lanes and cid in self._lanes):
            self._post_in_lane(frame, cid)
            return
        queue = self._queue
        if not lazy and not self.connection.pending and not self._lanes:
            now = perf_counter()
            if now - self._last_write > COALESCE:
                self._last_write = now
                self._write(frame)
                return
        queue.append(frame)
        self._queued += len(frame)
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

    def _post_in_lane(self, frame: bytes, cid: int) -> None:
        """Queue behind, or as, a message that goes in chunks; other dialogs overtake it."""
        lane = self._lanes.setdefault(cid, deque())
        lane.append(Cutter(cid, frame, self._chunk) if len(frame) > self._whole else frame)
        self._queued += len(frame)
        self._wake_flusher()

    def _wake_flusher(self) -> None:
        self._flush_due = True
        task, self._flusher = self._flusher, None
        if task is not None:
            trio.lowlevel.reschedule(task)

    @property
    def clogged(self) -> bool:
        """Whether more waits to be written than a well-behaved sender should add to."""
        return self._queued > BATCH

    async def drained(self) -> None:
        """Wait until what was posted has been handed to the transport (or the channel ended)."""
        while (self._queued or self.connection.pending) and self.closed_by is None:
            await self._drained.park()

    async def _flush_forever(self) -> None:
        """The one task that writes what could not be written at once."""
        while True:
            if not self._flush_due:
                await self._park_flusher()
            self._flush_due = False
            # Let the tick end first: what is posted in it shares the write.
            await trio.lowlevel.checkpoint()
            await self._flush_all()
            self._drained.unpark_all()

    async def _park_flusher(self) -> None:
        self._flusher = trio.lowlevel.current_task()

        def abort(_: Any) -> trio.lowlevel.Abort:
            self._flusher = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    async def _flush_all(self) -> None:
        connection = self.connection
        while self._queue or self._lanes or connection.pending:
            if connection.pending:
                await connection.flush()
            frames = self._next_batch()
            while frames:
                taken = connection.send_nowait(frames)
                frames = frames[taken:]
                if frames or connection.pending:
                    await connection.flush()
            if self._lanes:
                # Chunks give way: to small frames of others, and to the readers of this actor.
                await trio.lowlevel.checkpoint()

    def _next_batch(self) -> list[bytes]:
        batch: list[bytes] = []
        size = 0
        while self._queue and size < BATCH:
            frame = self._queue.popleft()
            size += len(frame)
            self._queued -= len(frame)
            batch.append(frame)
        if not self._queue and self._lanes:
            batch.append(self._next_from_lanes())
        return batch

    def _next_from_lanes(self) -> bytes:
        """One piece of the lane whose turn it is; lanes take turns."""
        cid, lane = next(iter(self._lanes.items()))
        del self._lanes[cid]
        head = lane[0]
        if isinstance(head, Cutter):
            chunk = head.next()
            frame = self._encode(chunk)
            self._queued -= len(chunk.data)
            if chunk.last:
                lane.popleft()
        else:
            frame = head
            self._queued -= len(frame)
            lane.popleft()
        if lane:
            self._lanes[cid] = lane
        return frame

    # -- receiving --------------------------------------------------------------------------------

    async def run(
        self, dispatch: Callable[[Channel, Any], None], leftover: Sequence[Buffer] = ()
    ) -> None:
        """Read and write until the channel ends; returns when it has ended, whatever the reason.

        ``dispatch(channel, message)`` takes each message that names no dialog of ``dialogs``; ``leftover`` are
        frames that came with the handshake.
        """
        self._reading = True
        error = TransportClosed(f"channel to {self.aid} was closed")
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._flush_guarded, nursery.cancel_scope)
                error = await self._read(dispatch, leftover)
                nursery.cancel_scope.cancel()
        finally:
            self.connection.abort()
            if self.explain is not None and not self._closing:
                with trio.CancelScope(shield=True):
                    error = await self.explain(self, error)
            self._end(error)

    async def _flush_guarded(self, scope: trio.CancelScope) -> None:
        try:
            await self._flush_forever()
        except (TransportClosed, trio.ClosedResourceError):
            # The read side ends with the same reason; it may have frames left to deliver first.
            self._drained.unpark_all()
            await trio.sleep_forever()

    async def _read(self, dispatch: Callable[[Channel, Any], None], frames: Sequence[Buffer]) -> TransportClosed:
        connection = self.connection
        try:
            while True:
                for frame in frames:
                    self._deliver(self.codec.decode(frame), dispatch)
                frames = await connection.receive()
                if not frames:
                    return TransportClosed(f"channel to {self.aid} was closed by the peer")
        except trio.ClosedResourceError:
            return TransportClosed(f"channel to {self.aid} was closed here")
        except FrameTooLarge as error:
            return TransportClosed(f"channel to {self.aid}: {error}", src_exc=error)
        except TransportClosed as error:
            return error
        except (msgspec.MsgspecError, ChunkError, UnicodeDecodeError, RecursionError) as error:
            return TransportClosed(f"channel to {self.aid}: not a message: {error}", src_exc=error)

    def _deliver(self, message: Any, dispatch: Callable[[Channel, Any], None]) -> None:
        if type(message) is m.Chunk:
            whole = self._joiner.add(message)
            if whole is None:
                return
            message = self.codec.decode(whole)
            if type(message) is m.Chunk:
                raise ChunkError("a chunk inside a chunk")
        sink = self.dialogs.get(getattr(message, "cid", -1))
        if sink is None:
            dispatch(self, message)
        else:
            sink.deliver(message)

    # -- ending -----------------------------------------------------------------------------------

    def _end(self, error: TransportClosed) -> None:
        if self.closed_by is not None:
            return
        self.closed_by = error
        dialogs, self.dialogs = self.dialogs, {}
        for sink in dialogs.values():
            sink.cut(error)
        self._queue.clear()
        self._lanes.clear()
        self._queued = 0
        self._drained.unpark_all()
        self._ended.set()

    async def wait_closed(self) -> TransportClosed:
        """Wait until the channel has ended, and return why."""
        await self._ended.wait()
        assert self.closed_by is not None
        return self.closed_by

    def abort(self) -> None:
        """End the channel at once; what is queued is lost."""
        self._closing = True
        self.connection.abort()
        if not self._reading:
            self._end(TransportClosed(f"channel to {self.aid} was closed here"))

    async def aclose(self, timeout: float = 0.5) -> None:
        """Hand over what was posted (waiting at most ``timeout`` seconds), then close. Idempotent."""
        try:
            if not self.closed:
                with trio.move_on_after(timeout):
                    await (self.drained() if self._reading else self._flush_all())
        finally:
            self._closing = True
            with trio.CancelScope(shield=True):
                await self.connection.aclose()
            if not self._reading:
                self._end(TransportClosed(f"channel to {self.aid} was closed here"))

    async def __aenter__(self) -> Channel:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
