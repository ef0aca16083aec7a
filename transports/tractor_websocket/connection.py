"""The seam's connection over any WebSocket whose library can only be awaited.

The seam sends without waiting and may be cancelled at any moment; libraries wait in the middle of a
message, which must then be finished. So one task owns the WebSocket and writes from a bounded outbox.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeAlias

import trio
from trio.lowlevel import ParkingLot, checkpoint

from tractor_core.errors import FrameTooLarge, TransportClosed
from tractor_core.seams import Address, Buffer, PeerFacts

#: Largest message (bytes). Libraries take their limit when a connection is made and cannot raise it, so
#: it is the same for everybody: a chunk of 64 KiB in base64, as JSON carries it, and its envelope.
MAX_FRAME = 96 * 1024
#: What is taken ahead of the library (bytes), and what each frame counts for besides its own.
OUTBOX = 64 * 1024
_FRAME_COST = 64
#: How long closing may take, what was taken before it included (seconds).
GOODBYE = 0.5

#: RFC 6455: how a WebSocket that did its work ends, how one that did not say anything ended, and how one
#: that was sent too large a message.
_CLEAN, ABNORMAL, TOO_LARGE = (1000, 1001, 1005), 1006, 1009


class SocketEnded(Exception):
    """The WebSocket is over: its close code, the reason given, and the fault of the path if there was one."""

    def __init__(self, code: int, reason: str = "", fault: Exception | None = None) -> None:
        super().__init__(f"{code} {reason}".rstrip())
        self.code = code
        self.reason = reason
        self.fault = fault


class MessageSocket(Protocol):
    """What a WebSocket library has to offer; all of it raises :class:`SocketEnded`."""

    async def send(self, frame: bytes) -> None:
        """Send one message. Not cancelled, except by the end of the connection."""
        ...

    async def receive(self) -> bytes:
        """The next message. Cancellable without loss; ended by :meth:`close` and by the connection's end."""
        ...

    async def close(self) -> None:
        """Say goodbye and wait for the peer's. Cancelled when that takes too long."""
        ...


#: Makes the WebSocket ready, with tasks of its own in the nursery: upgrades, authorises. What it raises
#: says why there will be none.
OpenSocket: TypeAlias = Callable[[trio.Nursery], Awaitable[tuple[MessageSocket, PeerFacts]]]


class WebSocketConnection:
    """Implements the ``Connection`` protocol of the transport seam.

    Its owner runs :meth:`live` in a task, waits for :meth:`opened` and then uses it. ``close_path`` closes,
    at once, what is below the WebSocket; ``explain`` may replace what the library raises by something that
    says more.
    """

    def __init__(
        self,
        local: Address,
        remote: Address,
        open_socket: OpenSocket,
        close_path: Callable[[], None],
        *,
        max_frame: int,
        explain: Callable[[Exception], Exception] | None = None,
    ) -> None:
        self.local = local
        self.remote = remote
        self.facts = PeerFacts()
        self.max_frame = max_frame
        self.max_send_frame: int | None = MAX_FRAME
        self.established = False
        self.pending = False
        self._open_socket = open_socket
        self._close_path = close_path
        self._explain = explain
        self._socket: MessageSocket | None = None
        self._scope = trio.CancelScope()
        self._opened = trio.Event()
        self._finished = trio.Event()
        self._outbox: deque[bytes] = deque()
        self._unsent = 0
        self._writer, self._flushers = ParkingLot(), ParkingLot()
        #: A frame over the limit, which may be raised yet.
        self._refused: bytes | None = None
        self._closed = False
        # How it is over: for who receives, once all that came was delivered; and for who sends.
        self._end: SocketEnded | None = None
        self._fault: TransportClosed | None = None

    def __repr__(self) -> str:
        state = "closed" if self._closed else "over" if self._end or self._fault else "open"
        return f"<WebSocketConnection {self.local} -> {self.remote} {state}>"

    # -- the seam ---------------------------------------------------------------------------------

    def send_nowait(self, frames: Sequence[Buffer]) -> int:
        """Take frames while there is room in the outbox; see the seam's contract.

        What is in the outbox counts as handed on until that is full; :meth:`aclose` still writes it.
        ``ValueError`` for a frame over ``max_send_frame``, before any is taken.
        """
        self._check_open()
        if self.pending:
            return 0
        for frame in frames:
            if len(frame) > MAX_FRAME:
                raise ValueError(f"a frame of {len(frame)} bytes is over max_send_frame ({MAX_FRAME})")
        taken = 0
        for frame in frames:
            self._outbox.append(bytes(frame))
            self._unsent += len(frame) + _FRAME_COST
            taken += 1
            if self._unsent > OUTBOX:
                self.pending = True
                break
        self._writer.unpark_all()
        return taken

    async def flush(self) -> None:
        """Wait until the library has taken everything."""
        if not self.pending:
            self._check_open()
            await checkpoint()
        while self.pending and not self._closed and self._fault is None and self._end is None:
            await self._flushers.park()
        self._check_open()

    async def receive(self) -> Sequence[Buffer]:
        """Wait for a frame."""
        if self._closed or self._end or self._refused is not None or self._socket is None:
            await checkpoint()
        if self._closed:
            raise await self._left()
        if self._refused is None:
            if self._end is not None or self._socket is None:
                return self._over()
            try:
                self._refused = await self._socket.receive()
            except SocketEnded as ended:
                if self._closed:
                    raise await self._left() from None
                self._note_end(ended)
                return self._over()
        frame = self._refused
        if len(frame) > self.max_frame:
            raise FrameTooLarge(
                f"{self.remote} sent a frame of {len(frame)} bytes, over the limit of {self.max_frame}"
            )
        self._refused = None
        return (frame,)

    def abort(self) -> None:
        """Close now; what was taken and not yet written is lost."""
        self._leave()
        self._outbox.clear()
        self._scope.cancel()
        self._close_path()

    async def aclose(self) -> None:
        """Close; what was taken is still written and the peer told, within ``GOODBYE`` seconds."""
        if not self._closed:
            self._leave()
            self._scope.deadline = trio.current_time() + GOODBYE
            self._writer.unpark_all()
        await self._finished.wait()

    # -- for its owner ------------------------------------------------------------------------------

    async def live(self) -> None:
        """Open the WebSocket, write to it until the connection is closed, and close it."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    self._socket, self.facts = await self._open_socket(nursery)
                    self._opened.set()
                    await self._write(self._socket)
                    nursery.cancel_scope.cancel()
        except* Exception as group:
            # Bounded here: whatever a peer makes the library raise costs this connection and no other.
            self._note_end(self._as_ended(_first(group)))
        finally:
            self._close_path()
            self._note_end(SocketEnded(ABNORMAL))
            self._opened.set()
            self._finished.set()

    async def serve(self, handler: Callable[[WebSocketConnection], Awaitable[None]]) -> None:
        """Open it while ``handler`` runs, which waits for :meth:`opened`, and close it when that ends.

        Raises what the handler raises.
        """
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.live, name=f"websocket of {self.remote}")
            try:
                await handler(self)
            except Exception as error:
                # Kept, and raised outside of the nursery, which would wrap it in a group.
                failure = error
            finally:
                self.abort()
        if failure is not None:
            raise failure

    async def opened(self) -> bool:
        """Wait until it is open; False where it never will be, for the reason :meth:`receive` gives.

        ``ClosedResourceError`` where it was closed here meanwhile.
        """
        await self._opened.wait()
        if self._closed:
            raise self._closed_error()
        return self._socket is not None

    # -- inside -------------------------------------------------------------------------------------

    async def _write(self, socket: MessageSocket) -> None:
        outbox = self._outbox
        try:
            while True:
                while outbox:
                    await socket.send(outbox[0])
                    if outbox:  # not aborted meanwhile
                        self._unsent -= len(outbox.popleft()) + _FRAME_COST
                if self._closed:
                    await socket.close()
                    return
                self.pending = False
                self._flushers.unpark_all()
                await self._writer.park()
        except SocketEnded as ended:
            if self._closed:
                return
            self._fault = self._sending_fault(ended)
            self._flushers.unpark_all()
        # What had come before can still be received; the owner closes when it has.
        await self._writer.park()

    def _as_ended(self, error: Exception) -> SocketEnded:
        if isinstance(error, SocketEnded):
            return error
        return SocketEnded(ABNORMAL, fault=error if self._explain is None else self._explain(error))

    def _note_end(self, ended: SocketEnded) -> None:
        if self._end is None:
            self._end = ended
            self._flushers.unpark_all()

    def _over(self) -> Sequence[Buffer]:
        """What a receiver gets at the end: nothing, or the reason."""
        ended = self._end or SocketEnded(ABNORMAL)
        if ended.code in _CLEAN or (ended.code == ABNORMAL and ended.fault is None):
            return ()
        if ended.code == TOO_LARGE:
            raise FrameTooLarge(f"connection to {self.remote}: a message was too large: {ended.reason}")
        if isinstance(ended.fault, TransportClosed):
            raise ended.fault
        if ended.fault is not None:
            reason = f"connection to {self.remote} broke: {ended.fault}"
            raise TransportClosed(reason, src_exc=ended.fault)
        raise TransportClosed(f"{self.remote} closed the connection: {ended}", src_exc=ended)

    def _sending_fault(self, ended: SocketEnded) -> TransportClosed:
        if isinstance(ended.fault, TransportClosed):
            return ended.fault
        gone = ended.fault or BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        return TransportClosed(f"{self.remote} has closed the connection: {ended}", src_exc=gone)

    async def _left(self) -> trio.ClosedResourceError:
        # Only now: a channel's reader that is told of a goodbye under way would cut it short.
        await self._finished.wait()
        return self._closed_error()

    def _leave(self) -> None:
        self._closed = True
        self.pending = False
        self._refused = None
        self._flushers.unpark_all()

    def _check_open(self) -> None:
        if self._closed:
            raise self._closed_error()
        if self._fault is not None:
            raise self._fault
        if self._end is not None:
            raise self._sending_fault(self._end)

    def _closed_error(self) -> trio.ClosedResourceError:
        return trio.ClosedResourceError(f"the connection to {self.remote} was closed here")


def _first(group: BaseExceptionGroup[Exception]) -> Exception:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, Exception)
    return error
