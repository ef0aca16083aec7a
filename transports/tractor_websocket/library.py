"""trio-websocket as a :class:`~tractor_websocket.connection.MessageSocket`, and the two ways to open one."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import trio
from trio_websocket import (
    ConnectionClosed,
    ConnectionRejected,
    WebSocketRequest,
    wrap_client_stream,
    wrap_server_stream,
)
from trio_websocket import WebSocketConnection as LibraryConnection
from wsproto.utilities import LocalProtocolError

from tractor_core.errors import TransportClosed
from tractor_core.seams import Address

from .addresses import host_header
from .connection import ABNORMAL, GOODBYE, MAX_FRAME, SocketEnded
from .rules import JSON_PROTOCOL, MSGPACK_PROTOCOL, NOT_SERVING, PROTOCOLS, SHOWN, Refused, Rules, as_frame
from .streams import WatchedStream

#: Messages that the library keeps ready: enough to let its task and ours take turns, little enough that
#: a peer that is not read is not read ahead either.
_QUEUE = 4
#: Bytes of one read.
_READ_SIZE = 64 * 1024


class LibrarySocket:
    """A WebSocket of trio-websocket, of text or of binary messages."""

    def __init__(self, socket: LibraryConnection, stream: WatchedStream | None, *, text: bool) -> None:
        #: The library's own connection.
        self.library = socket
        self._stream = stream
        self._text = text

    async def send(self, frame: bytes) -> None:
        try:
            await self.library.send_message(frame.decode() if self._text else frame)
        except (ConnectionClosed, LocalProtocolError):
            raise self._ended() from None

    async def receive(self) -> bytes:
        try:
            message = await self.library.get_message()
        except ConnectionClosed:
            raise self._ended() from None
        try:
            return as_frame(message, text=self._text)
        except SocketEnded as ended:
            # Shielded: nobody else would remember why.
            with trio.move_on_after(GOODBYE, shield=True):
                await self.library.aclose(ended.code, ended.reason)
            raise

    async def close(self) -> None:
        try:
            await self.library.aclose()
        except LocalProtocolError:
            raise self._ended() from None

    def _ended(self) -> SocketEnded:
        reason = self.library.closed
        if reason is None or reason.code == ABNORMAL:
            return SocketEnded(ABNORMAL, fault=None if self._stream is None else self._stream.fault)
        return SocketEnded(reason.code, reason.reason or reason.name)


async def open_as_client(
    nursery: trio.Nursery, stream: WatchedStream, address: Address, codec: str
) -> LibrarySocket:
    """Ask the server for a WebSocket; ``SocketEnded`` where it hangs up, ``TransportClosed`` for a refusal.

    The library's task goes to ``nursery``; a refusal is raised there.
    """
    wanted = JSON_PROTOCOL if codec == "json" else MSGPACK_PROTOCOL
    socket = None
    with trio.CancelScope() as scope:
        stream.on_end = scope.cancel
        socket = await wrap_client_stream(
            nursery,
            stream,  # type: ignore[arg-type]  # any stream will do, as its documentation says
            host_header(address),
            address.path or "/",
            subprotocols=[wanted],
            message_queue_size=_QUEUE,
            max_message_size=MAX_FRAME,
            receive_buffer_size=_READ_SIZE,
        )
    stream.on_end = None
    if socket is None:
        raise SocketEnded(ABNORMAL)
    if socket.subprotocol != wanted:
        raise TransportClosed(f"{address} is no tractor-core peer: it did not agree to {wanted}")
    return LibrarySocket(socket, stream, text=codec == "json")


def describe_rejection(address: Address, error: ConnectionRejected) -> TransportClosed:
    """What a server's HTTP answer means."""
    body = (error.body or b"")[:SHOWN].decode(errors="replace").strip()
    text = "".join(c if c.isprintable() else " " for c in body)
    return TransportClosed(
        f"{address} refused the WebSocket: HTTP {error.status_code}{f' ({text})' if text else ''}",
        src_exc=error,
    )


class Door:
    """Who may have a WebSocket of one listener; nobody while ``open_now`` says so."""

    def __init__(self, rules: Rules, timeout: float, open_now: Callable[[], bool] = lambda: True) -> None:
        self._rules = rules
        self._timeout = timeout
        self._open_now = open_now

    async def open_as_server(
        self, nursery: trio.Nursery, stream: WatchedStream
    ) -> tuple[LibrarySocket, str, str | None]:
        """Take the request that must come within ``timeout`` seconds: the WebSocket, its codec, the origin.

        ``TransportClosed`` says why there is none; the peer was told by an HTTP error.
        """
        request = None
        with trio.move_on_after(self._timeout) as scope:
            stream.on_end = scope.cancel
            request = await wrap_server_stream(
                nursery,
                stream,
                message_queue_size=_QUEUE,
                max_message_size=MAX_FRAME,
                receive_buffer_size=_READ_SIZE,
            )
        stream.on_end = None
        if request is None:
            raise await _no_request(stream, timed_out=scope.deadline <= trio.current_time())
        return await self.open_request(request, stream)

    async def open_request(
        self, request: WebSocketRequest, stream: WatchedStream | None = None
    ) -> tuple[LibrarySocket, str, str | None]:
        """Answer a request: the WebSocket, its codec, the origin. ``TransportClosed`` as above."""
        origins = _headers(request, b"origin")
        try:
            if not self._open_now():
                raise Refused(503, NOT_SERVING)
            protocol = self._rules.settle(request.path, origins, request.proposed_subprotocols)
        except Refused as refused:
            with trio.move_on_after(self._timeout):
                await request.reject(refused.status, body=refused.why.encode())
            raise refused.closed() from None
        socket = await request.accept(subprotocol=protocol)
        opened = LibrarySocket(socket, stream, text=protocol == JSON_PROTOCOL)
        return opened, PROTOCOLS[protocol], origins[0] if origins else None


async def _no_request(stream: WatchedStream, *, timed_out: bool) -> TransportClosed:
    if not timed_out:
        why = "" if stream.fault is None else f": {stream.fault}"
        return TransportClosed(f"it is no WebSocket client{why}", src_exc=stream.fault)
    with trio.move_on_after(1):
        try:
            await stream.send_all(b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n\r\n")
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # it has gone without
    return TransportClosed("no WebSocket request came in time")


def _headers(request: WebSocketRequest, name: bytes) -> list[str]:
    pairs: Iterable[tuple[bytes, bytes]] = request.headers
    return [value.decode("latin-1") for key, value in pairs if key.lower() == name]
