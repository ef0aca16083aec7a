"""Dialling and listening over TCP."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterator

import trio

from tractor_core.seams import Address, SocketConnection, SocketListener, TransportOptions
from tractor_core.seams.hosts import WILDCARDS, as_bound, is_loopback
from tractor_core.seams.internet import SocketName, bind_tcp, dial_tcp, set_options

from . import addresses
from .holder import describe_holder


class TcpTransport:
    """The transport named ``tcp``. Stateless; see ``tractor_core.seams.Transport``."""

    schemes = (addresses.TCP,)

    def parse(self, url: str) -> Address:
        """Check a ``tcp://host:port[?advertise=host:port]`` URL."""
        return addresses.parse(url)

    def default_bind(self) -> Address:
        """An ephemeral port on loopback."""
        return Address(addresses.TCP, "127.0.0.1", 0)

    def default_registry(self) -> Address:
        """``tcp://127.0.0.1:1616``."""
        return Address(addresses.TCP, "127.0.0.1", 1616)

    def exposure(self, address: Address) -> str:
        """``"host"`` for loopback, else ``"network"`` (a wildcard included)."""
        return "host" if is_loopback(address.host) else "network"

    def distance(self, address: Address) -> int | None:
        """10 on loopback, 20 elsewhere; a wildcard is dialled on loopback."""
        return 10 if is_loopback(address.host) or address.host in WILDCARDS else 20

    async def connect(self, address: Address, options: TransportOptions) -> SocketConnection:
        """Dial; a name is tried on all its addresses at once, staggered (happy eyeballs)."""
        address = addresses.parse(address.url)
        with answer_in_time(address, options):
            sock = await dial_tcp(address)
        local = addresses.from_socket_name(own_name(sock))
        return SocketConnection(sock, local, address, max_frame=options.handshake_frame)

    async def listen(self, address: Address, options: TransportOptions) -> SocketListener:
        """Bind; port 0 takes a free one. A name is bound on the first of its addresses."""
        sock, bound = await bind(addresses.parse(address.url))

        def accepted(peer: socket.socket, peer_name: SocketName) -> SocketConnection:
            set_options(peer)
            local, remote = (addresses.from_socket_name(name) for name in (own_name(peer), peer_name))
            return SocketConnection(peer, local, remote, max_frame=options.handshake_frame)

        return SocketListener(sock, bound, options, accepted)


@contextlib.contextmanager
def answer_in_time(address: Address, options: TransportOptions) -> Iterator[None]:
    """Bound a dial; ``TimeoutError`` names the address."""
    try:
        with trio.fail_after(options.connect_timeout):
            yield
    except trio.TooSlowError:
        raise TimeoutError(
            errno.ETIMEDOUT, f"no answer from {address} within {options.connect_timeout:g} s"
        ) from None


async def bind(address: Address) -> tuple[socket.socket, Address]:
    """A listening socket, and its address as bound, with what others are to be told of it."""
    try:
        sock = await bind_tcp(address)
    except OSError as exc:
        holder = describe_holder(address.port or 0) if exc.errno == errno.EADDRINUSE else ""
        if not holder:
            raise
        raise OSError(exc.errno, f"{exc.strerror} by {holder}") from exc
    return sock, as_bound(address, sock.getsockname()[1])


def own_name(sock: socket.socket) -> SocketName:
    name: SocketName = sock.getsockname()
    return name
