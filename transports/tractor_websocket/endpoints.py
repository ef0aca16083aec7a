"""Dialling and listening."""

from __future__ import annotations

import errno
import socket
import ssl
from typing import NoReturn

import trio
from trio_websocket import ConnectionRejected

from tractor_core.errors import AuthenticationFailed
from tractor_core.seams import (
    Address,
    Connection,
    ConnectionHandler,
    PeerFacts,
    SocketListener,
    TransportOptions,
)
from tractor_core.seams.hosts import WILDCARDS, as_bound, is_loopback
from tractor_core.seams.internet import SocketName, bind_tcp, dial_tcp, set_options
from tractor_core.seams.tls import client_context, demand_tls, server_context

from . import addresses
from .connection import MessageSocket, WebSocketConnection
from .library import Door, describe_rejection, open_as_client
from .rules import Rules
from .streams import WatchedSocket, tls_client, tls_server

_REGISTRY_PORTS = {"ws": 1618, "wss": 1619}


class WebSocketTransport:
    """The transport named ``ws`` or ``wss``. Stateless; see ``tractor_core.seams.Transport``."""

    def __init__(self, scheme: str) -> None:
        self.schemes = (scheme,)
        self._scheme = scheme
        self._secure = scheme == "wss"

    def __repr__(self) -> str:
        return f"<WebSocketTransport {self._scheme}>"

    def parse(self, url: str) -> Address:
        """Check a URL; see the package for its parameters."""
        return addresses.parse(url, self._scheme)

    def default_bind(self) -> Address:
        """An ephemeral port on loopback."""
        return Address(self._scheme, "127.0.0.1", 0)

    def default_registry(self) -> Address:
        """``ws://127.0.0.1:1618``, ``wss://127.0.0.1:1619``."""
        return Address(self._scheme, "127.0.0.1", _REGISTRY_PORTS[self._scheme])

    def exposure(self, address: Address) -> str:
        """``"host"`` for loopback, else ``"network"``."""
        return "host" if is_loopback(address.host) else "network"

    def distance(self, address: Address) -> int | None:
        """12 on loopback, 22 elsewhere: as near as TCP, and dearer."""
        return 12 if is_loopback(address.host) or address.host in WILDCARDS else 22

    def uses_tls(self, address: Address) -> bool:
        """Whether this is ``wss``."""
        return self._secure

    async def connect(self, address: Address, options: TransportOptions) -> WebSocketConnection:
        """Dial, and wait for the answer to the WebSocket request.

        ``AuthenticationFailed`` where the certificate there is not good, ``OSError`` where there is no
        connection, or no TLS over it. That a server answers with an error, or hangs up, shows in
        ``receive()``.
        """
        address = self.parse(address.url)
        tls = None
        if self._secure:
            context = ssl.create_default_context() if options.tls is None else client_context(options.tls)
            # What is bound to every address of this host is dialled, and certified, at its loopback.
            tls = tls_client(context, WILDCARDS.get(address.host, address.host))
        try:
            with trio.fail_after(options.connect_timeout):
                stream = WatchedSocket(await dial_tcp(address), tls)
                try:
                    return await _dial(stream, address, options)
                except BaseException:
                    stream.abort()
                    raise
        except trio.TooSlowError:
            raise TimeoutError(
                errno.ETIMEDOUT, f"no answer from {address} within {options.connect_timeout:g} s"
            ) from None

    async def listen(self, address: Address, options: TransportOptions) -> WebSocketListener:
        """Bind; port 0 takes a free one. ``options.extra["origins"]`` adds to the address's own."""
        address = self.parse(address.url)
        if address.param("codec") is not None:
            raise ValueError(f"address {address}: codec= is for who dials, a listener speaks them all")
        listed = address.param("origins")
        origins = addresses.check_origins(
            [*(listed.split(",") if listed else ()), *options.extra.get("origins", ())]
        )
        tls = None
        if self._secure:
            tls = tls_server(server_context(demand_tls(options.tls, "wss"), client_certificates=False))
        sock = await bind_tcp(address)
        bound = as_bound(address, sock.getsockname()[1])
        door = Door(Rules(address.path or "/", origins), options.connect_timeout)

        def accepted(peer: socket.socket, name: SocketName) -> WebSocketConnection:
            set_options(peer)
            remote = Address(self._scheme, name[0], name[1])
            return _answer(WatchedSocket(peer, tls), self._scheme, remote, door, options)

        return WebSocketListener(SocketListener(sock, bound, options, accepted))


class WebSocketListener:
    """Accepts TCP connections, and hands on those that become WebSockets."""

    def __init__(self, listener: SocketListener) -> None:
        self.address = listener.address
        self._listener = listener

    def __repr__(self) -> str:
        return f"<WebSocketListener {self.address}>"

    async def serve(
        self, handler: ConnectionHandler, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> NoReturn:
        """Accept for ever; see the seam's contract."""

        async def upgraded(connection: WebSocketConnection) -> None:
            if await connection.opened():
                await handler(connection)
            else:
                # Raises what the listener should log; nothing where the peer just left.
                await connection.receive()

        async def accepted(connection: Connection) -> None:
            assert isinstance(connection, WebSocketConnection)
            await connection.serve(upgraded)

        await self._listener.serve(accepted, task_status=task_status)

    async def aclose(self) -> None:
        """Stop listening. Idempotent; done even if cancelled."""
        await self._listener.aclose()


async def _dial(stream: WatchedSocket, address: Address, options: TransportOptions) -> WebSocketConnection:
    codec = address.param("codec") or "msgpack"
    if stream.tls is not None:
        try:
            await stream.tls.do_handshake()
        except trio.BrokenResourceError as exc:
            raise _not_secured(address, exc.__cause__ or exc) from exc

    async def open_socket(nursery: trio.Nursery) -> tuple[MessageSocket, PeerFacts]:
        socket = await open_as_client(nursery, stream, address, codec)
        return socket, _facts(stream, codec)

    def explain(error: Exception) -> Exception:
        return describe_rejection(address, error) if isinstance(error, ConnectionRejected) else error

    connection = WebSocketConnection(
        stream.local(address.scheme),
        address,
        open_socket,
        stream.abort,
        max_frame=options.handshake_frame,
        explain=explain,
    )
    # Whoever dials has no nursery to lend. The task ends with the connection, and raises nothing.
    trio.lowlevel.spawn_system_task(connection.live, name=f"websocket to {address}")
    try:
        await connection.opened()
    except BaseException:
        connection.abort()
        raise
    return connection


def _not_secured(address: Address, cause: BaseException) -> OSError | AuthenticationFailed:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return AuthenticationFailed(f"the certificate of {address} is not good: {cause.verify_message}")
    number = errno.ECONNABORTED
    if isinstance(cause, ssl.SSLEOFError):
        number = errno.ECONNRESET
    elif isinstance(cause, ConnectionError) and cause.errno:
        number = cause.errno
    return OSError(number, f"{address}: no TLS connection: {cause}")


def _answer(
    stream: WatchedSocket, scheme: str, remote: Address, door: Door, options: TransportOptions
) -> WebSocketConnection:
    async def open_socket(nursery: trio.Nursery) -> tuple[MessageSocket, PeerFacts]:
        socket, codec, origin = await door.open_as_server(nursery, stream)
        return socket, _facts(stream, codec, origin)

    return WebSocketConnection(
        stream.local(scheme), remote, open_socket, stream.abort, max_frame=options.handshake_frame
    )


def _facts(stream: WatchedSocket, codec: str, origin: str | None = None) -> PeerFacts:
    certificate = None if stream.tls is None else stream.tls.getpeercert(binary_form=True)
    return PeerFacts(certificate=certificate, origin=origin, encrypted=stream.tls is not None, codec=codec)
