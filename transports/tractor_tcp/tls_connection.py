"""Length-prefixed frames inside TLS, over one connected socket.

The encryption is a sans-IO object between two memory buffers (``ssl.MemoryBIO``), so that sending needs no
checkpoint and every wait can be cancelled without loss, as over a plain socket.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections import deque
from collections.abc import Sequence
from typing import cast

import trio
from trio.lowlevel import checkpoint, notify_closing, wait_readable, wait_writable

from tractor_core.errors import AuthenticationFailed, TransportClosed
from tractor_core.seams import Address, Buffer, FrameSplitter, PeerFacts, pack_header

#: Bytes asked of the socket by one read, and what is encrypted before the kernel is asked to take it.
READ_SIZE = 64 * 1024
PIECE_SIZE = 64 * 1024
#: After so many bytes without the end of the handshake a peer is not read any more: certificates and their
#: chain are a few thousand. Read in small steps, so that 64 KiB are never passed.
HANDSHAKE_LIMIT = 48 * 1024
HANDSHAKE_READ = 16 * 1024
#: How much a closing connection reads to spare the peer a reset (bytes).
DISCARD_LIMIT = 1024 * 1024

_NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)


class TlsConnection:
    """Implements the ``Connection`` protocol of the transport seam; owns the socket.

    :meth:`secure` comes first, once. The end of the stream without TLS's own goodbye counts as the peer's
    end, except inside a frame: what a killed process leaves looks so, and the runtime takes no end of a
    connection for a result.
    """

    __slots__ = (
        "_at_end", "_cipher", "_closed", "_drained", "_failure", "_heard", "_incoming", "_outgoing", "_plain",
        "_sock", "_splitter", "_tls", "established", "facts", "local", "max_send_frame", "pending", "remote",
    )  # fmt: skip

    def __init__(
        self,
        sock: socket.socket,
        local: Address,
        remote: Address,
        context: ssl.SSLContext,
        *,
        server_hostname: str | None = None,
        max_frame: int,
    ) -> None:
        """``server_hostname`` is who must be there where this side dialled; None where it accepted."""
        sock.setblocking(False)
        self.local = local
        self.remote = remote
        self.facts = PeerFacts()
        self.max_send_frame: int | None = None
        self.established = False
        self.pending = False
        self._sock = sock
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=server_hostname is None,
            server_hostname=server_hostname,
        )
        self._splitter = FrameSplitter(max_frame)
        self._closed = False
        # Encrypted and not yet written; taken and not yet encrypted.
        self._cipher = memoryview(b"")
        self._plain: deque[memoryview] = deque()
        # Nothing more to decrypt until the socket has been read again.
        self._drained = False
        self._failure: TransportClosed | AuthenticationFailed | None = None
        self._heard = False
        self._at_end = False

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<TlsConnection {self.local} -> {self.remote} {state}>"

    @property
    def max_frame(self) -> int:
        """Largest frame accepted from the peer (bytes)."""
        return self._splitter.max_frame

    @max_frame.setter
    def max_frame(self, value: int) -> None:
        self._splitter.max_frame = value

    async def secure(self) -> None:
        """Shake hands. The caller bounds it in time, and aborts the connection where this raises.

        ``AuthenticationFailed`` where this side does not trust the peer's certificate, ``TransportClosed``
        for everything else that is not to be had.
        """
        read = 0
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self._write_all()
                if read >= HANDSHAKE_LIMIT:
                    raise TransportClosed(f"{self.remote} sent {read} bytes and no TLS handshake") from None
                read += await self._read_more(HANDSHAKE_READ)
            except ssl.SSLError as exc:
                # The alert that says why; if the peer does not take it now, it does without.
                self._say_goodbye()
                raise self._not_secured(exc) from exc
        await self._write_all()
        certificate = self._tls.getpeercert(binary_form=True)
        self.facts = PeerFacts(certificate=certificate, encrypted=True, certified=certificate is not None)

    def send_nowait(self, frames: Sequence[Buffer]) -> int:
        """Encrypt and write what the kernel takes; see the seam's contract."""
        if self._closed:
            raise self._closed_error()
        if self._failure is not None:
            raise self._failure
        taken, count = 0, len(frames)
        while taken < count and not self.pending:
            size = 0
            while taken < count and size < PIECE_SIZE:
                frame = memoryview(frames[taken])
                self._plain.append(memoryview(pack_header(len(frame))))
                self._plain.append(frame)
                size += len(frame)
                taken += 1
            self._write_taken()
        if self.pending:
            # What is left belongs to this side from here on: the caller may reuse its buffers.
            self._plain = deque(map(_owned, self._plain))
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
                self._write_taken()

    async def receive(self) -> Sequence[Buffer]:
        """Wait for frames; always passes through a checkpoint."""
        splitter = self._splitter
        if splitter.stalled:
            await checkpoint()
            if not self._closed and (frames := splitter.feed(b"")):
                return frames
        while True:
            if self._closed:
                raise self._closed_error()
            if self._drained:
                await self._read_more()
            else:
                await checkpoint()
            if self._closed:
                raise self._closed_error()
            if not self._at_end and self._failure is None and (frames := self._decrypt()):
                return frames
            if self._failure is not None:
                raise self._failure
            if self._at_end:
                return self._ended()

    def abort(self) -> None:
        """Close now; what was taken and not yet written is lost."""
        if self._closed:
            return
        self._closed = True
        self.pending = False
        self._cipher = memoryview(b"")
        self._plain.clear()
        try:
            notify_closing(self._sock)
        finally:
            self._sock.close()

    async def aclose(self) -> None:
        """Write what needs no waiting, say the end of the stream and close."""
        if not self._closed:
            try:
                self._write_taken()
                if not self.pending:
                    # It says that the peer's own goodbye has not come; nobody waits for that.
                    with contextlib.suppress(ssl.SSLError):
                        self._tls.unwrap()
                    self._write_taken()
                self._say_goodbye()
            except TransportClosed:
                pass
            finally:
                self.abort()
        await checkpoint()

    # -- out --------------------------------------------------------------------------------------

    def _write_taken(self) -> None:
        """Encrypt and write until all is written or the kernel is full; ``pending`` says which."""
        while True:
            if not self._cipher:
                self._encrypt()
                if not self._cipher:
                    self.pending = False
                    return
            try:
                sent = self._sock.send(self._cipher, _NO_SIGNAL)
            except BlockingIOError:
                self.pending = True
                return
            except OSError as exc:
                raise self._broken(exc) from exc
            self._cipher = self._cipher[sent:]

    def _encrypt(self) -> None:
        """Turn the next piece of what was taken into ``_cipher``, after what TLS itself has to say."""
        plain = self._plain
        try:
            # Small buffers are joined: each call makes a record, of 16 KiB at most.
            parts: list[Buffer] = []
            size = 0
            while plain and size < PIECE_SIZE:
                buffer = plain.popleft()
                if len(buffer) > PIECE_SIZE:
                    plain.appendleft(buffer[PIECE_SIZE:])
                    buffer = buffer[:PIECE_SIZE]
                parts.append(buffer)
                size += len(buffer)
            piece = memoryview(parts[0] if len(parts) == 1 else b"".join(parts))
            while piece:
                piece = piece[self._tls.write(piece) :]
        except ssl.SSLError as exc:
            raise self._broken(exc) from exc
        if self._outgoing.pending:
            self._cipher = memoryview(self._outgoing.read())

    async def _write_all(self) -> None:
        self._write_taken()
        if self.pending:
            await self.flush()

    def _say_goodbye(self) -> None:
        """End our half and drop what the peer still sent: closing with unread data is a reset."""
        with contextlib.suppress(OSError, TransportClosed):
            if not self.pending:
                self._write_taken()
            self._sock.shutdown(socket.SHUT_WR)
            discarded = 0
            while discarded < DISCARD_LIMIT and (data := self._sock.recv(READ_SIZE)):
                discarded += len(data)

    # -- in ---------------------------------------------------------------------------------------

    async def _read_more(self, size: int = READ_SIZE) -> int:
        """Wait for at most ``size`` bytes from the socket and hand them to TLS; how many came."""
        while True:
            await wait_readable(self._sock)
            if self._closed:
                raise self._closed_error()
            try:
                data = self._sock.recv(size)
            except BlockingIOError:
                continue
            except OSError as exc:
                raise self._broken(exc) from exc
            break
        self._drained = False
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()
        return len(data)

    def _decrypt(self) -> list[Buffer]:
        """The frames in what was read; ``_at_end`` says that the stream ends behind them."""
        splitter = self._splitter
        parts: list[bytes] = []
        try:
            # One read of the socket brought it all, so these loops are bounded.
            while (target := splitter.target) is not None:
                count = cast(int, self._tls.read(len(target), target))  # typeshed knows the other form only
                if not count:
                    self._at_end = True
                    return []
                if frames := splitter.filled(count):
                    return frames
            while data := self._tls.read(READ_SIZE):
                self._heard = True
                parts.append(data)
            self._at_end = True
        except ssl.SSLWantReadError:
            self._drained = True
        except ssl.SSLEOFError:
            self._at_end = True
        except ssl.SSLError as exc:
            self._failure = self._refused(exc) or self._broken(exc)
        if self._outgoing.pending and not self.pending:
            with contextlib.suppress(TransportClosed):  # whoever sends next will hear of it
                self._write_taken()
        return splitter.feed(b"".join(parts)) if parts else []

    def _ended(self) -> Sequence[Buffer]:
        if self._splitter.mid_frame:
            raise TransportClosed(f"{self.remote} closed in the middle of a frame")
        return ()

    # -- errors -----------------------------------------------------------------------------------

    def _not_secured(self, exc: ssl.SSLError) -> TransportClosed | AuthenticationFailed:
        if isinstance(exc, ssl.SSLCertVerificationError):
            return AuthenticationFailed(f"the certificate of {self.remote} is not good: {exc.verify_message}")
        if isinstance(exc, ssl.SSLEOFError):
            return TransportClosed(f"{self.remote} closed during the TLS handshake", src_exc=exc)
        return self._refused(exc) or TransportClosed(
            f"no TLS with {self.remote}: {_reason(exc)}", src_exc=exc
        )

    def _refused(self, exc: ssl.SSLError) -> AuthenticationFailed | None:
        """The error for an alert about this side's certificate; it comes before anything else is heard."""
        reason = _reason(exc)
        if self._heard or "alert" not in reason or not any(word in reason for word in _CERTIFICATE_ALERTS):
            return None
        return AuthenticationFailed(f"{self.remote} refused this actor's certificate: {reason}")

    def _broken(self, exc: OSError) -> TransportClosed:
        return TransportClosed(f"connection to {self.remote} broke: {exc}", src_exc=exc)

    def _closed_error(self) -> trio.ClosedResourceError:
        return trio.ClosedResourceError(f"the connection to {self.remote} was closed here")


#: What OpenSSL's names of the alerts about certificates have in common.
_CERTIFICATE_ALERTS = ("certificate", "unknown ca", "access denied")


def _reason(exc: ssl.SSLError) -> str:
    return (exc.reason or str(exc)).lower().replace("_", " ")


def _owned(buffer: memoryview) -> memoryview:
    """The same bytes, in memory that the caller of a send cannot change."""
    return buffer if isinstance(buffer.obj, bytes) else memoryview(bytes(buffer))
