"""Dialling and listening over TCP."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from typing import Any, TypeAlias

import msgspec
import trio

from tractor_core.seams import Address, SocketConnection, SocketListener, TransportOptions
from tractor_core.seams.hosts import WILDCARDS, as_bound, is_loopback, is_numeric

from . import addresses
from .holder import describe_holder

#: Unsent bytes the kernel holds before it says "not writable" (bytes). Small, so that a short frame
#: is not stuck behind megabytes of chunks that were handed over before it.
NOTSENT_LOWAT = 128 * 1024
#: A silent remote host is probed after so many idle seconds, so often, so many times: gone is
#: noticed within about half a minute. Probes are answered by the kernel, so an actor that computes
#: for minutes keeps its connections.
KEEPALIVE = (15, 5, 3)
#: Unacknowledged data breaks a connection to another host after so long (milliseconds). Linux counts
#: a full receive buffer as unacknowledged too, so this also bounds how long a peer may be too busy
#: to read; that cannot happen to a host on loopback, which is why it is not set there.
USER_TIMEOUT = 120_000
BACKLOG = 1024

SocketName: TypeAlias = "tuple[str, int] | tuple[str, int, int, int]"


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
            sock = await dial(address)
        try:
            local = addresses.from_socket_name(prepare(sock))
        except OSError as exc:
            sock.close()
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"{address} hung up at once: {exc}") from exc
        return SocketConnection(sock, local, address, max_frame=options.handshake_frame)

    async def listen(self, address: Address, options: TransportOptions) -> SocketListener:
        """Bind; port 0 takes a free one. A name is bound on the first of its addresses."""
        sock, bound = await bind(addresses.parse(address.url))

        def accepted(peer: socket.socket, peer_name: SocketName) -> SocketConnection:
            local, remote = addresses.from_socket_name(prepare(peer)), addresses.from_socket_name(peer_name)
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


async def dial(address: Address) -> socket.socket:
    """A connected socket; ``ConnectionRefusedError`` where nobody listens, else another ``OSError``."""
    assert address.port is not None
    if not is_numeric(address.host):
        return await _dial_name(address.host, address.port, address)
    family, name = await _resolve(
        msgspec.structs.replace(address, host=WILDCARDS.get(address.host, address.host))
    )
    sock = trio.socket.socket(family, socket.SOCK_STREAM)
    try:
        await sock.connect(name)
        if sock.getsockname() == sock.getpeername():
            # An ephemeral port that nobody listens on can be dialled from that very port.
            raise ConnectionRefusedError(errno.ECONNREFUSED, "nobody listens there")
    except BaseException as exc:
        sock.close()
        if isinstance(exc, OSError):
            raise _cannot_connect(address, exc) from exc
        raise
    return socket.socket(fileno=sock.detach())


async def bind(address: Address) -> tuple[socket.socket, Address]:
    """A listening socket, and its address as bound, with what others are to be told of it."""
    family, name = await _resolve(address)
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        # On Linux this allows binding beside connections in TIME_WAIT, never beside a listener.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(name)
        sock.listen(BACKLOG)
    except OSError as exc:
        sock.close()
        raise _cannot_bind(address, exc) from exc
    return sock, as_bound(address, sock.getsockname()[1])


async def _dial_name(host: str, port: int, address: Address) -> socket.socket:
    try:
        stream = await trio.open_tcp_stream(host, port)
    except OSError as exc:
        cause = exc.__cause__
        attempts = cause.exceptions if isinstance(cause, BaseExceptionGroup) else [cause]
        if all(isinstance(attempt, ConnectionRefusedError) for attempt in attempts):
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"nobody listens on {address}") from exc
        raise _cannot_connect(address, exc) from exc
    return socket.socket(fileno=stream.socket.detach())


async def _resolve(address: Address) -> tuple[socket.AddressFamily, Any]:
    """Family and socket name of the first address; IPv4 before IPv6 for a name that has both."""
    flags = socket.AI_NUMERICHOST if is_numeric(address.host) else 0
    try:
        found = await trio.socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=flags | socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as exc:
        raise OSError(errno.EADDRNOTAVAIL, f"cannot resolve {address.host!r} of {address}: {exc}") from exc
    family, _, _, _, name = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    return family, name


def prepare(sock: socket.socket) -> SocketName:
    """Set the options of a connected socket; its own name. ``OSError`` where the peer has gone."""
    _set_options(sock, loopback=is_loopback(sock.getpeername()[0]))
    name: SocketName = sock.getsockname()
    return name


def _set_options(sock: socket.socket, *, loopback: bool) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, NOTSENT_LOWAT)
    if loopback:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in zip(("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT"), KEEPALIVE, strict=True):
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT)


def _cannot_connect(address: Address, exc: OSError) -> OSError:
    """The same error with the address in its text (OSError picks the subclass by number)."""
    if exc.errno is None or isinstance(exc, socket.gaierror):
        return OSError(errno.EHOSTUNREACH, f"cannot reach {address}: {exc}")
    return OSError(exc.errno, f"cannot connect to {address}: {os.strerror(exc.errno)}")


def _cannot_bind(address: Address, exc: OSError) -> OSError:
    if exc.errno == errno.EADDRINUSE and address.port:
        holder = describe_holder(address.port)
        return OSError(exc.errno, f"{address} is already in use{f' by {holder}' if holder else ''}")
    return OSError(exc.errno, f"cannot listen on {address}: {exc.strerror}")
