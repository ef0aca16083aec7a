"""One peer: frames, credit and goodbyes over messages that somebody else moves."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Sequence
from typing import Protocol

import trio
import zmq
from trio.lowlevel import checkpoint

from tractor_core.errors import FrameTooLarge, TransportClosed
from tractor_core.seams import Address, Buffer, PeerFacts

from .options import CREDIT, CREDIT_STEP, DATA, END, FRAME_COST, HEADER_SIZE, MAX_FRAME, WINDOW
from .pump import Pump, Seat

_TOTAL = struct.Struct("<Q")
#: A received frame longer than this is handed out as a view behind its header; copying a shorter one
#: costs less than the view does.
_VIEW_ABOVE = 4096
#: What a peer that keeps to its window can send beyond what was reported to it (bytes).
_MOST_AHEAD = WINDOW + MAX_FRAME + FRAME_COST


class Link(Protocol):
    """What a connection needs of the socket it shares or owns."""

    pump: Pump

    def transmit(self, message: bytes) -> None:
        """Give libzmq one message for the peer, without waiting. ``zmq.ZMQError`` where it cannot."""
        ...

    def check(self) -> None:
        """Read what came meanwhile; owed after each :meth:`transmit` and :meth:`catch_up`."""
        ...

    def catch_up(self) -> None:
        """Read what came meanwhile, as much as one peer that keeps to its window can have sent."""
        ...

    def leave(self, *, at_once: bool) -> None:
        """The connection was closed here. ``at_once``: what was transmitted may be lost."""
        ...


class ZmqConnection:
    """Implements the ``Connection`` protocol of the transport seam; used by diallers and listeners alike.

    Neither a ROUTER nor a DEALER says when a peer has too much to read, so each side counts what the
    other may send: ``WINDOW`` bytes, renewed by messages that tell how much was taken in all.
    """

    __slots__ = (
        "_closed", "_consumed", "_data", "_ended", "_error", "_flushing", "_granted", "_held", "_inbox",
        "_largest", "_link", "_most_held", "_receiving", "_reported", "_sent", "_token", "established",
        "facts", "local", "max_frame", "max_send_frame", "pending", "remote",
    )  # fmt: skip

    def __init__(
        self, link: Link, token: bytes, local: Address, remote: Address, facts: PeerFacts, max_frame: int
    ) -> None:
        self.local = local
        self.remote = remote
        self.facts = facts
        self.max_frame = max_frame
        self.max_send_frame: int | None = MAX_FRAME
        self.established = False
        self.pending = False
        self._link = link
        self._token = token
        self._data = DATA + token
        self._inbox: list[bytes] = []
        self._held, self._most_held = 0, _MOST_AHEAD
        self._largest = 0
        # Totals since the beginning, in bytes of credit.
        self._sent = self._granted = self._consumed = self._reported = 0
        self._closed = False
        self._ended = False
        self._error: TransportClosed | None = None
        self._receiving, self._flushing = Seat(), Seat()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "over" if self.over else "open"
        return f"<ZmqConnection {self.local} -> {self.remote} {state}>"

    # -- the seam ---------------------------------------------------------------------------------

    def send_nowait(self, frames: Sequence[Buffer]) -> int:
        """Hand frames to libzmq while there is credit; see the seam's contract.

        ``ValueError`` for a frame over ``max_send_frame``, before anything is sent.
        """
        self._check_open()
        if self.pending:
            return 0
        for frame in frames:
            if len(frame) > MAX_FRAME:
                raise ValueError(f"a frame of {len(frame)} bytes is over max_send_frame ({MAX_FRAME})")
        room = WINDOW - (self._sent - self._granted)
        taken = 0
        data, transmit = self._data, self._link.transmit
        try:
            for frame in frames:
                if room <= 0:
                    break
                transmit(data + frame)
                room -= len(frame) + FRAME_COST
                taken += 1
        except zmq.ZMQError as exc:
            raise self._break(exc) from exc
        finally:
            self._sent = self._granted + WINDOW - room
        if room <= 0:
            self.pending = True
        self._link.check()
        return taken

    async def flush(self) -> None:
        """Wait until the peer has taken so much that there is room again."""
        if not self.pending:
            self._check_open()
            await checkpoint()
        await self._link.pump.until(self._flushing, lambda: not self.pending or self._closed or self.over)
        self._check_open()

    async def receive(self) -> Sequence[Buffer]:
        """Wait for frames."""
        if self._inbox or self._closed or self.over:
            await checkpoint()
        else:
            await self._link.pump.until(
                self._receiving, lambda: self._inbox or self._closed or self._ended or self._error
            )
        if self._closed:
            raise self._closed_error()
        if self._inbox:
            return self._take()
        if self._error is not None:
            raise self._error
        return ()

    def abort(self) -> None:
        """Close now; the peer is told, but what was sent before may be lost."""
        self._close(at_once=True)

    async def aclose(self) -> None:
        """Close; libzmq goes on writing what was sent, for a bounded time."""
        self._close(at_once=False)
        await checkpoint()

    # -- for the link -------------------------------------------------------------------------------

    @property
    def over(self) -> bool:
        """Whether nothing more can come from the peer."""
        return self._ended or self._error is not None

    @property
    def under_way(self) -> int:
        """What was sent and the peer has not reported as taken (bytes of credit)."""
        return self._sent - self._granted

    def deliver(self, message: bytes) -> None:
        """Take one message that came from the peer."""
        if self._closed or self.over:
            return
        if not message.startswith(self._data):
            self._control(message)
            return
        size = len(message) - HEADER_SIZE
        self._held += size + FRAME_COST
        if self._held > self._most_held:
            self.violated(f"sent more than its window of {WINDOW} bytes")
            return
        if size > self._largest:
            self._largest = size
        self._inbox.append(message)
        self._link.pump.wake(self._receiving)

    def violated(self, what: str) -> None:
        """The peer broke the protocol of this transport: nothing more is taken from it."""
        self.cut(OSError(errno.EPROTO, what))
        self._link.leave(at_once=True)

    def cut(self, reason: Exception | None = None) -> None:
        """Everything that came was delivered, and no more will come."""
        if self._closed or self.over:
            return
        reason = reason or ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        self._error = TransportClosed(f"connection to {self.remote} broke: {reason}", src_exc=reason)
        self._wake()

    # -- inside -------------------------------------------------------------------------------------

    def _control(self, message: bytes) -> None:
        if message[1:HEADER_SIZE] != self._token:
            # Somebody took the identity of a peer that is gone; see docs/reference/zmq.rst.
            self.violated("another peer sent under this connection's identity")
            return
        kind, body = message[:1], message[HEADER_SIZE:]
        if kind == CREDIT and len(body) == _TOTAL.size:
            total = _TOTAL.unpack(body)[0]
            if self._granted <= total <= self._sent:
                self._granted = total
                if self.pending and self._sent - total <= WINDOW // 2:
                    self.pending = False
                    self._link.pump.wake(self._flushing)
                return
        elif kind == END and not body:
            self._ended = True
            self._wake()
            return
        self.violated("sent a message that makes no sense")

    def _take(self) -> Sequence[Buffer]:
        inbox = self._inbox
        if self._largest <= self.max_frame:
            taken, self._inbox = inbox, []
            cost, self._held, self._largest = self._held, 0, 0
        else:
            taken = self._take_within_limit()
            self._inbox = inbox[len(taken) :]
            cost = sum(map(len, taken)) + len(taken) * (FRAME_COST - HEADER_SIZE)
            self._held -= cost
        self._consumed += cost
        self._most_held = _MOST_AHEAD - (self._consumed - self._reported)
        if self._consumed - self._reported >= CREDIT_STEP:
            # What was sent without credit must show before there is credit for it.
            self._link.catch_up()
            if self.over:
                # Where others use the socket too, more of theirs may be there.
                self._link.check()
            else:
                self._report()
        return [
            memoryview(message)[HEADER_SIZE:] if len(message) > _VIEW_ABOVE else message[HEADER_SIZE:]
            for message in taken
        ]

    def _take_within_limit(self) -> list[bytes]:
        """The frames in front of the first one that is too long, which is refused if it is in front."""
        for index, message in enumerate(self._inbox):
            size = len(message) - HEADER_SIZE
            if size > self.max_frame:
                if index:
                    return self._inbox[:index]
                raise FrameTooLarge(
                    f"the peer sent a frame of {size} bytes, over the limit of {self.max_frame}"
                )
        return self._inbox[:]

    def _report(self) -> None:
        self._reported = self._consumed
        # At once: the peer may have used it when this looks for messages again, right behind the sending.
        self._most_held = _MOST_AHEAD
        try:
            self._link.transmit(CREDIT + self._token + _TOTAL.pack(self._consumed))
        except zmq.ZMQError as exc:
            self._break(exc)
            return
        self._link.check()

    def _close(self, *, at_once: bool) -> None:
        if self._closed:
            return
        self._closed = True
        self.pending = False
        self._inbox.clear()
        try:
            if not self.over:
                self._link.transmit(END + self._token)
        except zmq.ZMQError:
            pass  # the path is gone; so will be the peer's
        finally:
            self._link.leave(at_once=at_once)
            self._wake()

    def _wake(self) -> None:
        self._link.pump.wake(self._receiving)
        self._link.pump.wake(self._flushing)

    def _check_open(self) -> None:
        if self._closed:
            raise self._closed_error()
        if self._error is not None:
            raise self._error
        if self._ended:
            gone = BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
            raise TransportClosed(f"{self.remote} has closed the connection", src_exc=gone)

    def _break(self, exc: zmq.ZMQError) -> TransportClosed:
        """libzmq has no path to the peer any more, or a peer that reads nothing.

        What had come before is read first: the end shows behind it, when the link reports it.
        """
        if exc.errno == zmq.EAGAIN:
            self.violated("reads nothing that this transport sends")
        return self._error or TransportClosed(f"connection to {self.remote} broke: {exc}", src_exc=exc)

    def _closed_error(self) -> trio.ClosedResourceError:
        return trio.ClosedResourceError(f"the connection to {self.remote} was closed here")
