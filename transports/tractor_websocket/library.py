"""trio-websocket as a :class:`~tractor_websocket.connection.MessageSocket`, and the two ways to open one."""

from __future__ import annotations

from collections.abc import Iterable

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

from .addresses import host_header, origin_allowed
from .connection import ABNORMAL, MAX_FRAME, SocketEnded
from .streams import WatchedStream

#: Subprotocols: which codec every message is in. Binary messages for the first, text for the second.
MSGPACK_PROTOCOL = "tractor-core.msgpack.v1"
JSON_PROTOCOL = "tractor-core.json.v1"
PROTOCOLS = {MSGPACK_PROTOCOL: "msgpack", JSON_PROTOCOL: "json"}

#: Messages that the library keeps ready: enough to let its task and ours take turns, little enough that
#: a peer that is not read is not read ahead either.
_QUEUE = 4
#: Bytes of one read.
_READ_SIZE = 64 * 1024
#: How much of an answer is repeated in an error (bytes).
_SHOWN = 200


class LibrarySocket:
    """A WebSocket of trio-websocket, of text or of binary messages."""

    def __init__(self, socket: LibraryConnection, stream: WatchedStream, *, text: bool) -> None:
        self._socket = socket
        self._stream = stream
        self._text = text

    async def send(self, frame: bytes) -> None:
        try:
            await self._socket.send_message(frame.decode() if self._text else frame)
        except (ConnectionClosed, LocalProtocolError):
            raise self._ended() from None

    async def receive(self) -> bytes:
        try:
            message = await self._socket.get_message()
        except ConnectionClosed:
            raise self._ended() from None
        if isinstance(message, str):
            if self._text:
                return message.encode()
            raise _violation(f"a text message came under subprotocol {MSGPACK_PROTOCOL}")
        if not self._text:
            return message
        raise _violation(f"a binary message came under subprotocol {JSON_PROTOCOL}")

    async def close(self) -> None:
        try:
            await self._socket.aclose()
        except LocalProtocolError:
            raise self._ended() from None

    def _ended(self) -> SocketEnded:
        reason = self._socket.closed
        if reason is None or reason.code == ABNORMAL:
            return SocketEnded(ABNORMAL, fault=self._stream.fault)
        return SocketEnded(reason.code, reason.reason or reason.name)


def _violation(what: str) -> SocketEnded:
    return SocketEnded(1003, what)


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
    body = (error.body or b"")[:_SHOWN].decode(errors="replace").strip()
    text = "".join(c if c.isprintable() else " " for c in body)
    return TransportClosed(
        f"{address} refused the WebSocket: HTTP {error.status_code}{f' ({text})' if text else ''}",
        src_exc=error,
    )


class Door:
    """Who may have a WebSocket of one listener."""

    def __init__(self, path: str, origins: frozenset[str], timeout: float) -> None:
        self._path = path or "/"
        self._origins = origins
        self._timeout = timeout

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
        origins = _headers(request, b"origin")
        origin = origins[0] if origins else None
        status, why = self._judge(request, origins)
        if status:
            with trio.move_on_after(self._timeout):
                await request.reject(status, body=why.encode())
            raise TransportClosed(f"refused a WebSocket: {why}")
        protocol = next(each for each in request.proposed_subprotocols if each in PROTOCOLS)
        socket = await request.accept(subprotocol=protocol)
        return LibrarySocket(socket, stream, text=protocol == JSON_PROTOCOL), PROTOCOLS[protocol], origin

    def _judge(self, request: WebSocketRequest, origins: list[str]) -> tuple[int, str]:
        """The HTTP status of a refusal and its reason, 0 where there is none."""
        for origin in origins:
            # More than one is no browser's doing; every one of them must be fine then.
            if not origin_allowed(origin, self._origins):
                return 403, f"pages from {origin[:_SHOWN]!r} may not connect here (origins= lists who may)"
        if request.path.partition("?")[0] != self._path:
            return 404, f"there is nothing at {request.path[:_SHOWN]!r}"
        if not any(each in PROTOCOLS for each in request.proposed_subprotocols):
            return 400, f"offer the subprotocol {MSGPACK_PROTOCOL} or {JSON_PROTOCOL}"
        return 0, ""


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
