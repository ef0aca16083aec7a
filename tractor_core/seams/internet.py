"""TCP sockets for transports that run over them: dialling by name, binding, and the options they need."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any, TypeAlias

import msgspec
import trio

from .address import Address
from .hosts import WILDCARDS, is_loopback, is_numeric

#: Unsent bytes the kernel holds before it says "not writable" (bytes). Small, so that a short frame
#: is not stuck behind megabytes of chunks that were handed over before it.
NOTSENT_LOWAT = 128 * 1024

#: Kernel buffers of connections that stay on this host (bytes; Linux doubles it). Left to itself the kernel
#: lets megabytes pile up at a busy reader, and a small frame waits behind them: beside buffers of
#: 32 MiB a call took 20 to 40 times as long as an idle one, with this 4 times, at the same rate.
LOOPBACK_BUFFER = 128 * 1024

#: Unsent bytes there: little takes a quarter off the latency of a call beside large values, and nothing off
#: their rate, because the kernel asks for more while it still has half of it.
LOOPBACK_NOTSENT = 48 * 1024
#: A silent remote host is probed after so many idle seconds, so often, so many times: gone is
#: noticed within about half a minute. Probes are answered by the kernel, so an actor that computes
#: for minutes keeps its connections.
KEEPALIVE = (15, 5, 3)
#: Unacknowledged data breaks a connection to another host after so long (milliseconds). Linux counts
#: a full receive buffer as unacknowledged too, so this also bounds how long a peer may be too busy
#: to read; that cannot happen to a host on loopback, which is why it is not set there.
USER_TIMEOUT = 120_000
BACKLOG = 1024

#: What ``getsockname``, ``getpeername`` and ``accept`` report.
SocketName: TypeAlias = "tuple[str, int] | tuple[str, int, int, int]"


async def dial_tcp(address: Address) -> socket.socket:
    """Connect to ``address.host`` and ``.port``; a name is tried on all its addresses at once, staggered.

    ``ConnectionRefusedError`` where nobody listens, else ``OSError``; both name the address.
    """
    assert address.port is not None
    if not is_numeric(address.host):
        return await _dial_name(address.host, address.port, address)
    # What is bound to every address of this host is found on its loopback.
    host = WILDCARDS.get(address.host, address.host)
    family, name = await _resolve(msgspec.structs.replace(address, host=host))
    sock = trio.socket.socket(family, socket.SOCK_STREAM)
    try:
        await sock.connect(name)
        if sock.getsockname() == sock.getpeername():
            # An ephemeral port that nobody listens on can be dialled from that very port.
            raise ConnectionRefusedError(errno.ECONNREFUSED, "nobody listens there")
        set_options(sock)
    except BaseException as exc:
        sock.close()
        if isinstance(exc, OSError):
            raise _cannot_connect(address, exc) from exc
        raise
    return socket.socket(fileno=sock.detach())


async def _dial_name(host: str, port: int, address: Address) -> socket.socket:
    try:
        stream = await trio.open_tcp_stream(host, port)
    except OSError as exc:
        cause = exc.__cause__
        attempts = cause.exceptions if isinstance(cause, BaseExceptionGroup) else [cause]
        if all(isinstance(attempt, ConnectionRefusedError) for attempt in attempts):
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"nobody listens on {address}") from exc
        raise _cannot_connect(address, exc) from exc
    try:
        set_options(stream.socket)
    except OSError as exc:
        stream.socket.close()
        raise _cannot_connect(address, exc) from exc
    return socket.socket(fileno=stream.socket.detach())


async def bind_tcp(address: Address) -> socket.socket:
    """A listening socket; port 0 takes a free one, a name is bound on the first of its addresses.

    ``OSError`` names the address.
    """
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
        if exc.errno == errno.EADDRINUSE:
            raise OSError(exc.errno, f"{address} is already in use") from exc
        raise OSError(exc.errno, f"cannot listen on {address}: {exc.strerror}") from exc
    return sock


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


def set_options(sock: socket.socket | trio.socket.SocketType) -> None:
    """What every connected TCP socket gets, dialled or accepted; ``OSError`` where the peer has gone."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    loopback = is_loopback(sock.getpeername()[0])
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        unsent = LOOPBACK_NOTSENT if loopback else NOTSENT_LOWAT
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, unsent)
    if loopback:
        for direction in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            sock.setsockopt(socket.SOL_SOCKET, direction, LOOPBACK_BUFFER)
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
