"""Actors in programs that own their WebSocket server: what it accepted is handed to the actor."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import trio
from trio_websocket import Endpoint, WebSocketRequest
from trio_websocket import WebSocketConnection as LibraryConnection

from tractor_core.errors import NoRuntime
from tractor_core.seams import Address, ConnectionServer, PeerFacts
from tractor_core.seams.transport import HANDSHAKE_FRAME_LIMIT

from .addresses import check_origins
from .connection import ABNORMAL, GOODBYE, MessageSocket, OpenSocket, SocketEnded, WebSocketConnection
from .library import Door, LibrarySocket
from .rules import JSON_PROTOCOL, NOT_SERVING, PROTOCOLS, Rules
from .streams import WatchedStream

logger = logging.getLogger("tractor_core.transport")

#: How long the request may take to come, and a refusal to be sent (seconds).
_PATIENCE = 5.0
#: Why it is closed at last: served until its end, or not at all ("try again later").
GOING_AWAY, NOT_NOW = 1001, 1013


class _Cut:
    """A WebSocket that can be cut off here, which leaves what is below to who accepted it."""

    def __init__(self) -> None:
        self.socket: MessageSocket
        self._severed = False
        self._receiving = trio.CancelScope()

    def sever(self) -> None:
        """Wake who receives; there is no more."""
        self._severed = True
        self._receiving.cancel()

    async def send(self, frame: bytes) -> None:
        await self.socket.send(frame)

    async def receive(self) -> bytes:
        if not self._severed:
            with trio.CancelScope() as self._receiving:
                return await self.socket.receive()
        raise SocketEnded(ABNORMAL)

    async def close(self) -> None:
        await self.socket.close()


async def serve_on(
    actor: ConnectionServer,
    websocket: trio.abc.Stream | WebSocketRequest | LibraryConnection,
    *,
    origins: Iterable[str] = (),
    path: str | None = None,
) -> None:
    """Serve one peer of ``actor`` over a WebSocket that the program accepted, until it is closed.

    ``websocket`` may be at any stage: a byte stream, such as ``trio.serve_tcp`` hands out, on which the peer
    is about to ask for a WebSocket; trio-websocket's request; or its open connection, accepted with one of
    the subprotocols of this package. Requests are judged as a listener does: pages of other ``origins`` are
    refused with status 403, other paths than ``path`` (None: none) with 404. It is closed at the end.

    A peer that is refused, or breaks the protocol, costs one line in the log: nothing is raised for it. While
    the actor does not run here, or is ending, requests are answered 503 and open connections closed with
    1013. Cancelling this cuts the peer off. Raises ``ValueError`` for a connection without such a
    subprotocol.
    """
    if isinstance(websocket, LibraryConnection):
        await _serve_open(actor, websocket)
        return
    door = Door(Rules(path, check_origins(origins)), _PATIENCE, lambda: actor.serving)
    if isinstance(websocket, WebSocketRequest):
        await _serve_request(actor, websocket, door)
    else:
        await _serve_stream(actor, websocket, door)


async def serve_messages(
    actor: ConnectionServer,
    socket: MessageSocket,
    *,
    codec: str = "msgpack",
    remote: Address | None = None,
    secure: bool = False,
    origin: str | None = None,
) -> bool:
    """Serve one peer of ``actor`` over an open WebSocket of any library; see :class:`MessageSocket`.

    ``codec`` (``"msgpack"`` or ``"json"``) belongs to the subprotocol that was agreed on. ``remote`` is who
    it is, for the log, ``secure`` whether it came over TLS, ``origin`` the page that the caller let in. The
    socket is the caller's to close. Returns whether it was served, False where the actor takes no
    connections now. ``ValueError`` for another codec.
    """
    if codec not in PROTOCOLS.values():
        raise ValueError(f"codec {codec!r} is not one of {', '.join(PROTOCOLS.values())}")

    async def open_socket(nursery: trio.Nursery) -> tuple[MessageSocket, PeerFacts]:
        return socket, PeerFacts(origin=origin, encrypted=secure, codec=codec)

    return await serve_opening(actor, open_socket, remote or Address("wss" if secure else "ws"))


async def serve_opening(actor: ConnectionServer, open_socket: OpenSocket, remote: Address) -> bool:
    """Serve a peer whose WebSocket is opened by ``open_socket``; what that raises is logged as a refusal.

    Returns whether it was served: False where the actor takes no connections.
    """
    cut = _Cut()

    async def open_severable(nursery: trio.Nursery) -> tuple[MessageSocket, PeerFacts]:
        cut.socket, facts = await open_socket(nursery)
        return cut, facts

    connection = WebSocketConnection(
        Address(remote.scheme), remote, open_severable, cut.sever, max_frame=HANDSHAKE_FRAME_LIMIT
    )

    async def handler(connection: WebSocketConnection) -> None:
        # Never opened, it ends the handshake with the reason.
        await connection.opened()
        await actor.serve_connection(connection)

    try:
        await connection.serve(handler)
    except NoRuntime:
        logger.info("%s was not served: %s", remote, NOT_SERVING)
        return False
    return True


async def _serve_open(actor: ConnectionServer, websocket: LibraryConnection) -> None:
    protocol = websocket.subprotocol
    if protocol not in PROTOCOLS:
        known = " or ".join(PROTOCOLS)
        raise ValueError(f"the WebSocket has subprotocol {protocol!r}: accept it with {known}")
    socket = LibrarySocket(websocket, None, text=protocol == JSON_PROTOCOL)
    remote = _remote(websocket.remote)
    code = GOING_AWAY
    try:
        secure = remote.scheme == "wss"
        if not await serve_messages(actor, socket, codec=PROTOCOLS[protocol], remote=remote, secure=secure):
            code = NOT_NOW
    finally:
        await _leave(websocket, code)


async def _serve_request(actor: ConnectionServer, request: WebSocketRequest, door: Door) -> None:
    remote = _remote(request.remote)
    opened: list[LibrarySocket] = []

    async def open_socket(nursery: trio.Nursery) -> tuple[MessageSocket, PeerFacts]:
        socket, codec, origin = await door.open_request(request)
        opened.append(socket)
        return socket, PeerFacts(origin=origin, encrypted=remote.scheme == "wss", codec=codec)

    code = GOING_AWAY
    try:
        if not await serve_opening(actor, open_socket, remote):
            code = NOT_NOW
    finally:
        for socket in opened:
            await _leave(socket.library, code)


async def _serve_stream(actor: ConnectionServer, stream: trio.abc.Stream, door: Door) -> None:
    remote = _stream_remote(stream)

    async def open_socket(nursery: trio.Nursery) -> tuple[MessageSocket, PeerFacts]:
        socket, codec, origin = await door.open_as_server(nursery, WatchedStream(stream))
        return socket, PeerFacts(origin=origin, encrypted=remote.scheme == "wss", codec=codec)

    try:
        await serve_opening(actor, open_socket, remote)
    finally:
        await trio.aclose_forcefully(stream)


async def _leave(websocket: LibraryConnection, code: int) -> None:
    """Close it if that was not done yet; a peer that does not answer is cut off."""
    with trio.CancelScope(shield=True), trio.move_on_after(GOODBYE):
        await websocket.aclose(code)


def _remote(endpoint: Endpoint | str) -> Address:
    if isinstance(endpoint, str):  # a stream that has no address
        return Address("ws")
    return Address("wss" if endpoint.is_ssl else "ws", str(endpoint.address), endpoint.port)


def _stream_remote(stream: trio.abc.Stream) -> Address:
    scheme = "ws"
    if isinstance(stream, trio.SSLStream):
        scheme, stream = "wss", stream.transport_stream
    try:
        name = stream.socket.getpeername() if isinstance(stream, trio.SocketStream) else ()
    except OSError:  # it has gone
        name = ()
    return (
        Address(scheme, name[0], name[1]) if isinstance(name, tuple) and len(name) >= 2 else Address(scheme)
    )
