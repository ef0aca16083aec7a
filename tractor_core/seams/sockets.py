"""Connections and listeners over stdlib non-blocking stream sockets, driven by trio.

trio's own sockets cannot send without a checkpoint, so transports hand over a plain socket
(``trio_socket.detach()`` where trio made it) and this module waits with ``trio.lowlevel``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import trio
from trio.lowlevel import checkpoint, notify_closing, wait_readable, wait_writable

from tractor_core.errors import TransportClosed

from .address import Address
from .framing import HEADER_SIZE, FrameSplitter, pack_header
from .peers import PeerTasks, ThrottledLog
from .transport import Buffer, Connection, ConnectionHandler, Frame, PeerFacts, Placer, TransportOptions

#: Bytes asked for by a read: the second while a flood of small frames arrives.
READ_SIZE = 64 * 1024
READ_SIZE_BUSY = 256 * 1024
#: Bytes read behind a large frame, together with its rest: the head of the next one, or small ones.
SPILL_SIZE = 4 * 1024
#: Frames shorter than this are joined into one buffer; copying them is cheaper than an iovec each.
JOIN_LIMIT = 16 * 1024
#: Bytes handed to the kernel by one call. More would seldom be taken.
BATCH_SIZE = 256 * 1024
#: Buffers in one ``sendmsg``.
IOV_MAX = min(1024, os.sysconf("SC_IOV_MAX")) if hasattr(os, "sysconf") else 16
#: How much a closing connection reads to spare the peer a reset (bytes).
_DISCARD_LIMIT = 1024 * 1024

_NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)
_ACCEPT_BATCH = 64
_ACCEPT_BACKOFF = 0.1
#: What accept() reports about a peer that is already gone, not about this listener.
_PEER_GONE = {
    errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.ENETDOWN, errno.ENOPROTOOPT, errno.EHOSTDOWN,
    errno.EHOSTUNREACH, errno.EOPNOTSUPP, errno.ENETUNREACH, errno.ETIMEDOUT, errno.ECONNRESET,
}  # fmt: skip


class SocketConnection:
    """Length-prefixed frames over one connected stream socket, which it owns.

    Implements the ``DirectConnection`` protocol of the transport seam. The socket may be of any stream
    family; it is made non-blocking.
    """

    __slots__ = (
        "_closed", "_drained", "_read_size", "_sock", "_spill", "_splitter", "_unsent",
        "established", "facts", "local", "max_send_frame", "pending", "remote",
    )  # fmt: skip

    #: Takes frames in several buffers.
    gathers = True

    def __init__(
        self,
        sock: socket.socket,
        local: Address,
        remote: Address,
        *,
        facts: PeerFacts | None = None,
        max_frame: int,
    ) -> None:
        sock.setblocking(False)
        self.local = local
        self.remote = remote
        self.facts = facts or PeerFacts()
        self.max_send_frame: int | None = None
        self.established = False
        self.pending = False
        self._sock = sock
        self._splitter = FrameSplitter(max_frame)
        self._closed = False
        self._unsent: list[memoryview] = []
        # True when the last read took all there was: asking again would only return EAGAIN.
        self._drained = True
        self._read_size = READ_SIZE
        self._spill: bytearray | None = None

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<SocketConnection {self.local} -> {self.remote} {state}>"

    @property
    def max_frame(self) -> int:
        """Largest frame accepted from the peer (bytes)."""
        return self._splitter.max_frame

    @max_frame.setter
    def max_frame(self, value: int) -> None:
        self._splitter.max_frame = value

    @property
    def placer(self) -> Placer | None:
        """Says where the data of large frames belongs; see the seam."""
        return self._splitter.placer

    @placer.setter
    def placer(self, value: Placer | None) -> None:
        self._splitter.placer = value

    def send_nowait(self, frames: Sequence[Frame]) -> int:
        """Write what the kernel takes; see the seam's contract.

        Raises ``ClosedResourceError`` when closed here, ``TransportClosed`` when the path is broken.
        """
        if self._closed:
            raise self._closed_error()
        if self.pending:
            return 0
        count = len(frames)
        if count == 1 and not isinstance(frame := frames[0], tuple) and len(frame) < JOIN_LIMIT:
            message = pack_header(len(frame)) + frame
            sent = self._write(message)
            return 1 if sent == len(message) else self._keep_rest(frames, 0, sent)
        if (joined := _joined(frames)) is not None:
            sent = self._write(joined)
            return count if sent == len(joined) else self._keep_rest(frames, 0, sent)
        taken = 0
        while taken < count:
            buffers, number, size = _batch(frames, taken)
            sent = self._write(buffers[0]) if len(buffers) == 1 else self._write_vector(buffers)
            if sent != size:
                return self._keep_rest(frames, taken, sent)
            taken += number
        return taken

    async def flush(self) -> None:
        """Wait until the kernel has everything that was taken."""
        if not self.pending:
            await checkpoint()
        while self.pending or self._closed:
            if self._closed:
                raise self._closed_error()
            await wait_writable(self._sock)
            if not self._closed:
                self._write_unsent()

    async def receive(self) -> Sequence[Buffer]:
        """Wait for frames; always passes through a checkpoint, so that a flood starves nobody."""
        splitter = self._splitter
        sock = self._sock
        if splitter.stalled:
            await checkpoint()
            if not self._closed and (frames := splitter.feed(b"")):
                return frames
        splitter.settle()
        untold = READ_SIZE_BUSY
        while True:
            if self._closed:
                raise self._closed_error()
            if self._drained:
                await wait_readable(sock)
                untold = 0
            elif untold >= READ_SIZE_BUSY:
                # No oftener than for small frames, of which one read brings as much.
                await checkpoint()
                untold = 0
            if self._closed:
                raise self._closed_error()
            target = splitter.target
            try:
                if target is None:
                    data = sock.recv(self._read_size)
                    count = len(data)
                    self._drained = count < self._read_size
                    frames = splitter.feed(data)
                    busy = not self._drained and splitter.target is None and splitter.max_frame > READ_SIZE
                    self._read_size = READ_SIZE_BUSY if busy else READ_SIZE
                else:
                    count, frames = self._receive_into(target)
            except BlockingIOError:
                self._drained = True
                continue
            except OSError as exc:
                raise self._broken(exc) from exc
            if frames:
                return frames
            if not count:
                return self._ended()
            untold += count
            splitter.settle()

    def _receive_into(self, target: memoryview) -> tuple[int, list[Buffer]]:
        """Read the rest of a large frame where it belongs, and a little of what follows."""
        splitter = self._splitter
        if splitter.placer is None:
            count = self._sock.recv_into(target)
            self._drained = count < len(target)
            return count, splitter.filled(count)
        spill = self._spill = self._spill or bytearray(SPILL_SIZE)
        count = self._sock.recvmsg_into((target, spill))[0]
        self._drained = count < len(target) + SPILL_SIZE
        # Should the next one begin with the next read, that must not take much of it.
        self._read_size = SPILL_SIZE
        more = count - len(target)
        frames = splitter.filled(min(count, len(target)))
        if more > 0:
            frames += splitter.feed(bytes(memoryview(spill)[:more]))
        return count, frames

    def abort(self) -> None:
        """Close now; what was taken and not yet written is lost."""
        if self._closed:
            return
        self._closed = True
        self.pending = False
        self._unsent.clear()
        try:
            notify_closing(self._sock)
        finally:
            self._sock.close()

    async def aclose(self) -> None:
        """Write what needs no waiting, say the end of the stream and close."""
        if not self._closed:
            try:
                if self.pending:
                    self._write_unsent()
                self._say_goodbye()
            except TransportClosed:
                pass
            finally:
                self.abort()
        await checkpoint()

    def _write(self, data: Buffer) -> int:
        try:
            return self._sock.send(data, _NO_SIGNAL)
        except BlockingIOError:
            return 0
        except OSError as exc:
            raise self._broken(exc) from exc

    def _write_vector(self, buffers: Sequence[Buffer]) -> int:
        try:
            return self._sock.sendmsg(buffers, (), _NO_SIGNAL)
        except BlockingIOError:
            return 0
        except OSError as exc:
            raise self._broken(exc) from exc

    def _write_unsent(self) -> None:
        unsent = self._unsent
        sent = self._write_vector(unsent)
        while unsent and sent >= len(unsent[0]):
            sent -= len(unsent.pop(0))
        if unsent:
            unsent[0] = unsent[0][sent:]
        else:
            self.pending = False

    def _keep_rest(self, frames: Sequence[Frame], index: int, sent: int) -> int:
        """Own what is left of the frame the kernel stopped in; returns how many are taken with it.

        ``sent`` counts from the start of ``frames[index]``. Stopping exactly between two frames
        takes the next one too: fewer than all taken must always mean ``pending``, or a caller that
        flushes before trying again would never wait.
        """
        while sent >= (whole := HEADER_SIZE + _length(frames[index])):
            sent -= whole
            index += 1
        frame = frames[index]
        for buffer in (pack_header(_length(frame)), *(frame if isinstance(frame, tuple) else (frame,))):
            if sent < len(buffer):
                self._unsent.append(_owned(buffer, sent))
            sent = max(0, sent - len(buffer))
        self.pending = True
        return index + 1

    def _say_goodbye(self) -> None:
        """End our half and drop what the peer still sent: closing with unread data is a reset."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)
            discarded = 0
            while discarded < _DISCARD_LIMIT and (data := self._sock.recv(READ_SIZE)):
                discarded += len(data)

    def _ended(self) -> Sequence[Buffer]:
        if self._splitter.mid_frame:
            raise TransportClosed(f"{self.remote} closed in the middle of a frame")
        return ()

    def _broken(self, exc: OSError) -> TransportClosed:
        return TransportClosed(f"connection to {self.remote} broke: {exc}", src_exc=exc)

    def _closed_error(self) -> trio.ClosedResourceError:
        return trio.ClosedResourceError(f"the connection to {self.remote} was closed here")


def _owned(frame: Buffer, start: int) -> memoryview:
    """The frame from ``start``, in memory the caller cannot change."""
    view = memoryview(frame)[start:]
    return view if isinstance(view.obj, bytes) else memoryview(bytes(view))


def _length(frame: Frame) -> int:
    """Bytes of a frame."""
    return sum(map(len, frame)) if isinstance(frame, tuple) else len(frame)


def _joined(frames: Sequence[Frame]) -> bytes | None:
    """All frames in one buffer, where they are small; 0.1 us for each, where :func:`_batch` takes 0.26."""
    if sum(map(len, frames)) >= JOIN_LIMIT:
        return None
    try:
        return b"".join([pack_header(len(frame)) + frame for frame in frames])  # type: ignore[operator]
    except TypeError:
        return None  # one is in several buffers: of such a frame, the length is how many


def _batch(frames: Sequence[Frame], start: int) -> tuple[list[Buffer], int, int]:
    """What one system call should write: buffers, frames in them, bytes in them."""
    pieces: list[Buffer] = []
    size = number = 0
    join = True
    for index in range(start, len(frames)):
        frame = frames[index]
        length = _length(frame)
        still_join = join and length < JOIN_LIMIT
        buffers = frame if isinstance(frame, tuple) else (frame,)
        if pieces and (size >= BATCH_SIZE or not (still_join or len(pieces) + 1 + len(buffers) <= IOV_MAX)):
            break
        join = still_join
        pieces.append(pack_header(length))
        pieces += buffers
        size += HEADER_SIZE + length
        number += 1
    return ([b"".join(pieces)] if join else pieces), number, size


#: Makes a connection of an accepted socket, or None when that peer is refused (then it closes it).
AcceptedSocket = Callable[[socket.socket, Any], Connection | None]


class SocketListener:
    """Accepts peers on one listening stream socket, which it owns.

    ``accepted(sock, peer_name)`` makes the connection; ``on_close`` removes what binding made and
    runs before the socket is closed. Implements the ``Listener`` protocol.
    """

    def __init__(
        self,
        sock: socket.socket,
        address: Address,
        options: TransportOptions,
        accepted: AcceptedSocket,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        sock.setblocking(False)
        self.address = address
        self._sock = sock
        self.options = options
        self._accepted = accepted
        self._on_close = on_close
        self._closed = False
        self._log = ThrottledLog()

    def __repr__(self) -> str:
        return f"<SocketListener {self.address} {'closed' if self._closed else 'open'}>"

    async def serve(
        self, handler: ConnectionHandler, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> NoReturn:
        """Accept for ever; see the seam's contract.

        When the listener is closed meanwhile, peers already accepted are served to their end and
        then ``ClosedResourceError`` is raised.
        """
        if self._closed:
            raise self._closed_error()
        async with trio.open_nursery() as nursery:
            peers = PeerTasks(nursery, handler, self.options.max_connections)
            task_status.started()
            with contextlib.suppress(trio.ClosedResourceError):
                while not self._closed:
                    await wait_readable(self._sock)
                    if not self._accept_waiting(peers):
                        await trio.sleep(_ACCEPT_BACKOFF)
        raise self._closed_error()

    async def aclose(self) -> None:
        """Stop listening. Idempotent; done even if cancelled."""
        if not self._closed:
            self._closed = True
            try:
                if self._on_close is not None:
                    self._on_close()
            finally:
                notify_closing(self._sock)
                self._sock.close()
        await checkpoint()

    def _accept_waiting(self, peers: PeerTasks) -> bool:
        """Accept who is waiting, up to a batch; False when this host ran out of something."""
        for _ in range(_ACCEPT_BATCH if not self._closed else 0):
            try:
                sock, name = self._sock.accept()
            except BlockingIOError:
                return True
            except OSError as exc:
                if exc.errno in _PEER_GONE:
                    continue
                self._log.warning("accept", "%s cannot accept, will retry: %s", self.address, exc)
                return False
            self._admit(peers, sock, name)
        return True

    def _admit(self, peers: PeerTasks, sock: socket.socket, name: Any) -> None:
        try:
            connection = self._accepted(sock, name)
        except OSError as exc:
            # The peer left between accept and the first option set on its socket.
            sock.close()
            self._log.warning("admit", "%s lost a peer while accepting it: %s", self.address, exc)
            return
        if connection is not None:
            peers.admit(connection)

    def _closed_error(self) -> trio.ClosedResourceError:
        return trio.ClosedResourceError(f"the listener on {self.address} was closed")
