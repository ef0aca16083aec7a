"""The byte stream below a WebSocket: TCP, or TLS over it, closable at once and watched for its end."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import TypeAlias

import trio

from tractor_core.seams import Address

#: Puts TLS over a stream.
WrapInTLS: TypeAlias = "Callable[[trio.SocketStream], trio.SSLStream[trio.SocketStream]]"


class WatchedStream(trio.abc.Stream):
    """Remembers how the stream ended, which the WebSocket library does not tell.

    ``on_end`` is called when it does: by the peer, by a fault, or closed by the library, which does so
    when the peer talks nonsense. ``fault`` is the ``OSError`` that broke it, None after a plain end.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.on_end: Callable[[], None] | None = None
        self.fault: Exception | None = None
        self._stream = stream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        try:
            await self._stream.send_all(data)
        except trio.BrokenResourceError as exc:
            self._ended(exc)
            raise

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        try:
            data = await self._stream.receive_some(max_bytes)
        except trio.BrokenResourceError as exc:
            self._ended(exc)
            raise
        if not data:
            self._ended(None)
        return data

    async def aclose(self) -> None:
        self._ended(None)
        await self._stream.aclose()

    def _ended(self, exc: trio.BrokenResourceError | None) -> None:
        cause = None if exc is None else exc.__cause__
        if isinstance(cause, Exception) and self.fault is None:
            self.fault = cause
        if self.on_end is not None:
            self.on_end()


class WatchedSocket(WatchedStream):
    """The same over a connected socket, which it owns, and over TLS where ``wrap`` puts it there."""

    def __init__(self, sock: socket.socket, wrap: WrapInTLS | None) -> None:
        self._socket = trio.socket.from_stdlib_socket(sock)
        plain = trio.SocketStream(self._socket)
        #: The TLS layer, if there is one.
        self.tls = None if wrap is None else wrap(plain)
        super().__init__(self.tls or plain)

    def local(self, scheme: str) -> Address:
        """The address of this end."""
        name = self._socket.getsockname()
        return Address(scheme, name[0], name[1])

    def abort(self) -> None:
        """Close now; what the peer was sent may be lost, that it was closed is not."""
        if self._socket.fileno() != -1:
            # Closing a socket with unread data is a reset, which would overtake the end of the stream.
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)
            self._socket.close()


def tls_client(context: ssl.SSLContext, host: str) -> WrapInTLS:
    """Speaks TLS to a server that must be ``host``."""
    return lambda stream: trio.SSLStream(stream, context, server_hostname=host, https_compatible=True)


def tls_server(context: ssl.SSLContext) -> WrapInTLS:
    """Speaks TLS to who connected."""
    return lambda stream: trio.SSLStream(stream, context, server_side=True, https_compatible=True)
