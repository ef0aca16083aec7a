"""One direction of a ``mem://`` connection: a bounded queue of frames that faults can reach into."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

import trio

from tractor_core.errors import FrameTooLarge, TransportClosed
from tractor_core.seams import Buffer

#: What the pipe holds before it is clogged: whichever is reached first (bytes, frames).
MAX_BYTES = 1024 * 1024
MAX_FRAMES = 256

Fault: TypeAlias = Callable[[bytes], "bytes | None"]


class MemPipe:
    """Frames from one sender to one receiver, each due at a moment of trio's clock."""

    def __init__(self, delay: float) -> None:
        self.delay = delay
        #: Applied to every frame; after it, one of ``faults`` per frame until they are used up.
        self.fault: Fault | None = None
        self.faults: deque[Fault] = deque()
        #: True while a frame waits outside for room.
        self.clogged = False
        self._waiting: bytes | None = None
        self._frames: deque[tuple[float, bytes]] = deque()
        self._bytes = 0
        self._sender_closed = False
        self._receiver_closed = False
        self._truncated = False
        self._error: TransportClosed | None = None
        self._cut: tuple[int, Callable[[], None]] | None = None
        self._receiver = trio.lowlevel.ParkingLot()
        self._sender = trio.lowlevel.ParkingLot()

    def put(self, frame: bytes) -> None:
        """Take one frame; must not be called while ``clogged``."""
        self._check_writable()
        arriving = self._apply_faults(frame)
        if arriving is not None:
            if self._has_room(arriving):
                self._append(arriving)
            else:
                self._waiting = arriving
                self.clogged = True
        self._count_towards_cut()

    async def wait_room(self) -> None:
        """Return once nothing waits outside; also for a pipe that was closed or broke meanwhile."""
        await trio.lowlevel.checkpoint()
        while self.clogged or self._sender_closed:
            self._check_writable()
            await self._sender.park()
        self._check_writable()

    async def take(self, max_frame: Callable[[], int]) -> list[Buffer]:
        """Wait for frames that are due; empty once the sender closed and all was taken."""
        await trio.lowlevel.checkpoint()
        while True:
            self._check_readable()
            if frames := self._due(max_frame()):
                self._refill()
                return frames
            if not self._frames and self._sender_closed:
                if self._truncated:
                    raise TransportClosed("the peer closed in the middle of a frame")
                return []
            next_due = self._frames[0][0] if self._frames else math.inf
            with trio.move_on_at(next_due):
                await self._receiver.park()

    def close_sender(self) -> None:
        """No more will be sent; a frame that waits for room is lost."""
        self._truncated = self.clogged
        self._sender_closed = True
        self.clogged = False
        self._waiting = None
        self._wake()

    def close_receiver(self) -> None:
        """Nobody will take any more."""
        self._receiver_closed = True
        self._frames.clear()
        self._wake()

    def break_with(self, error: TransportClosed) -> None:
        """Lose what is under way; both ends get the error."""
        self._error = error
        self.clogged = False
        self._frames.clear()
        self._wake()

    def cut_after(self, frames: int, cut: Callable[[], None]) -> None:
        """Call ``cut`` once so many more frames were put."""
        self._cut = (frames, cut)
        if frames <= 0:
            cut()

    def _wake(self) -> None:
        self._receiver.unpark_all()
        self._sender.unpark_all()

    def _apply_faults(self, frame: bytes) -> bytes | None:
        arriving: bytes | None = frame if self.fault is None else self.fault(frame)
        if arriving is not None and self.faults:
            arriving = self.faults.popleft()(arriving)
        return arriving

    def _count_towards_cut(self) -> None:
        if self._cut is not None:
            left, cut = self._cut
            self._cut = (left - 1, cut)
            if left - 1 <= 0:
                cut()

    def _has_room(self, frame: bytes) -> bool:
        if not self._frames:
            return True
        return len(self._frames) < MAX_FRAMES and self._bytes + len(frame) <= MAX_BYTES

    def _append(self, frame: bytes) -> None:
        due = trio.current_time() + self.delay
        if self._frames:
            due = max(due, self._frames[-1][0])  # a shorter delay overtakes nothing
        self._frames.append((due, frame))
        self._bytes += len(frame)
        self._receiver.unpark_all()

    def _refill(self) -> None:
        if self._waiting is not None and self._has_room(self._waiting):
            self._append(self._waiting)
            self._waiting = None
            self.clogged = False
            self._sender.unpark_all()

    def _due(self, max_frame: int) -> list[Buffer]:
        """The frames that have arrived, up to one that is too long; that raises when it is first."""
        now = trio.current_time()
        taken: list[Buffer] = []
        while self._frames and self._frames[0][0] <= now:
            size = len(self._frames[0][1])
            if size > max_frame:
                if not taken:
                    raise FrameTooLarge(
                        f"the peer announced a frame of {size} bytes, over the limit of {max_frame}"
                    )
                break
            taken.append(self._frames.popleft()[1])
            self._bytes -= size
        return taken

    def _check_readable(self) -> None:
        if self._receiver_closed:
            raise trio.ClosedResourceError("the connection was closed here")
        if self._error is not None:
            raise TransportClosed(str(self._error), src_exc=self._error.src_exc)

    def _check_writable(self) -> None:
        if self._sender_closed:
            raise trio.ClosedResourceError("the connection was closed here")
        if self._error is not None:
            raise TransportClosed(str(self._error), src_exc=self._error.src_exc)
        if self._receiver_closed:
            raise TransportClosed("the peer has closed the connection", src_exc=BrokenPipeError())
