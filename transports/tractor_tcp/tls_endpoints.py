"""Dialling and listening over TLS."""

from __future__ import annotations

import socket
import ssl
from typing import NoReturn

import trio

from tractor_core.errors import AuthenticationFailed, TransportClosed
from tractor_core.seams import (
    Address,
    Connection,
    ConnectionHandler,
    SocketListener,
    TransportOptions,
)
from tractor_core.seams.hosts import WILDCARDS, is_loopback
from tractor_core.seams.internet import SocketName, dial_tcp, set_options
from tractor_core.seams.tls import client_context, demand_tls, server_context

from . import addresses
from .endpoints import answer_in_time, bind, own_name
from .tls_connection import TlsConnection


class TlsTransport:
    """The transport named ``tls``: TCP's frames inside mutual TLS. Stateless.

    Both ends show a certificate signed by the authority of ``TransportOptions.tls``; the dialler also checks
    that the acceptor's names the host in the address.
    """

    schemes = (addresses.TLS,)

    def parse(self, url: str) -> Address:
        """Check a ``tls://host:port[?advertise=host:port]`` URL."""
        return addresses.parse(url, addresses.TLS)

    def default_bind(self) -> Address:
        """An ephemeral port on loopback."""
        return Address(addresses.TLS, "127.0.0.1", 0)

    def default_registry(self) -> Address:
        """``tls://127.0.0.1:1617``."""
        return Address(addresses.TLS, "127.0.0.1", 1617)

    def exposure(self, address: Address) -> str:
        """``"host"`` for loopback, else ``"network"`` (a wildcard included)."""
        return "host" if is_loopback(address.host) else "network"

    def uses_tls(self, address: Address) -> bool:
        """Always: nobody without a certificate of the authority gets as far as the first frame."""
        return True

    def distance(self, address: Address) -> int | None:
        """12 on loopback, behind TCP there; 18 elsewhere, before TCP, which can be read on its way."""
        return 12 if is_loopback(address.host) or address.host in WILDCARDS else 18

    async def connect(self, address: Address, options: TransportOptions) -> TlsConnection:
        """Dial and shake hands. ``AuthenticationFailed`` where the certificate there is not good.

        That the acceptor does not like this side's shows at the first ``receive()``, as is the way of
        TLS 1.3. ``TransportClosed`` for what is no TLS listener; ``PluginError`` without certificates, and
        ``OSError`` for files that cannot be used.
        """
        address = addresses.parse(address.url, addresses.TLS)
        context = client_context(demand_tls(options.tls, addresses.TLS))
        with answer_in_time(address, options):
            sock = await dial_tcp(address)
            try:
                connection = _connection(
                    sock, address, context, options, hostname=WILDCARDS.get(address.host, address.host)
                )
            except BaseException:
                sock.close()
                raise
            try:
                await connection.secure()
            except BaseException:
                connection.abort()
                raise
        return connection

    async def listen(self, address: Address, options: TransportOptions) -> TlsListener:
        """Bind, with the certificates as they are now; errors as for TCP and for :meth:`connect`."""
        address = addresses.parse(address.url, addresses.TLS)
        context = server_context(demand_tls(options.tls, addresses.TLS))
        sock, bound = await bind(address)

        def accepted(peer: socket.socket, peer_name: SocketName) -> TlsConnection:
            set_options(peer)
            remote = addresses.from_socket_name(peer_name, addresses.TLS)
            return _connection(peer, remote, context, options)

        return TlsListener(sock, bound, options, accepted)


class TlsListener(SocketListener):
    """Has each peer shake hands, in its own task and within the time of a handshake, before it is handled."""

    async def serve(
        self, handler: ConnectionHandler, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> NoReturn:
        """Accept for ever; see the seam's contract."""

        async def handle(connection: Connection) -> None:
            assert isinstance(connection, TlsConnection)
            await self._secure(connection)
            await handler(connection)

        await super().serve(handle, task_status=task_status)

    async def _secure(self, connection: TlsConnection) -> None:
        limit = self.options.connect_timeout
        try:
            with trio.fail_after(limit):
                await connection.secure()
        except trio.TooSlowError:
            raise TransportClosed(f"no TLS handshake within {limit:g} s") from None
        except AuthenticationFailed as exc:
            raise TransportClosed(str(exc), src_exc=exc) from exc


def _connection(
    sock: socket.socket,
    remote: Address,
    context: ssl.SSLContext,
    options: TransportOptions,
    *,
    hostname: str | None = None,
) -> TlsConnection:
    local = addresses.from_socket_name(own_name(sock), addresses.TLS)
    return TlsConnection(
        sock, local, remote, context, server_hostname=hostname, max_frame=options.handshake_frame
    )
