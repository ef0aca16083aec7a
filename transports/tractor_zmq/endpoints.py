"""The two transports: what is particular to TCP and to socket files."""

from __future__ import annotations

import errno
import os
import secrets
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio

from tractor_core.errors import AuthenticationFailed
from tractor_core.seams import Address, PeerFacts, TransportOptions
from tractor_core.seams.hosts import WILDCARDS, as_bound, is_loopback, is_numeric
from tractor_core.seams.socket_files import BACKLOG, bind_file, sweep
from tractor_core.seams.socket_paths import fresh_path, prepare_directory, runtime_directory

from . import addresses
from .connection import ZmqConnection
from .descriptors import Wire
from .dialling import DealerLink, HungUp, NotConnected
from .hub import Hub
from .keys import DiallerKeys, dialler_keys, listener_keys
from .listening import ZmqListener
from .probing import probe

#: How often somebody who is there but takes nobody now is tried again (seconds).
_RETRY = 0.01
#: How long tidying waits for somebody else who is binding one of the files (seconds).
_TIDY_PATIENCE = 0.1
#: How often a listener that hangs up during the CURVE handshake is tried in all: it may have been closing.
_HANDSHAKES = 3
_HANDSHAKE_PAUSE = 0.05


class _Secrets:
    """The tree's key; where there is none, one that only this process has: closed rather than open."""

    def __init__(self) -> None:
        self._own = secrets.token_bytes(32)

    def key(self, options: TransportOptions) -> bytes:
        return options.key or self._own


class ZmqTcpTransport:
    """The transport named ``zmq+tcp`` or ``zmq``; see ``tractor_core.seams.Transport``."""

    schemes = (addresses.TCP, addresses.ALIAS)

    def __init__(self) -> None:
        self._secrets = _Secrets()

    def parse(self, url: str) -> Address:
        """Check a ``zmq+tcp://host:port[?advertise=host:port][&curve=/directory]`` URL."""
        return addresses.parse_tcp(url)

    def default_bind(self) -> Address:
        """An ephemeral port on loopback."""
        return Address(addresses.TCP, "127.0.0.1", 0)

    def default_registry(self) -> Address:
        """``zmq+tcp://127.0.0.1:1620``."""
        return Address(addresses.TCP, "127.0.0.1", addresses.REGISTRY_PORT)

    def exposure(self, address: Address) -> str:
        """``"host"`` for loopback, else ``"network"`` (a wildcard included)."""
        return "host" if is_loopback(address.host) else "network"

    def distance(self, address: Address) -> int | None:
        """11 on loopback, 21 elsewhere: behind plain TCP, which is quicker."""
        return 11 if is_loopback(address.host) or address.host in WILDCARDS else 21

    async def connect(self, address: Address, options: TransportOptions) -> ZmqConnection:
        """Dial; the addresses of a name are tried one after another, IPv4 first.

        ``AuthenticationFailed`` where the listener does not admit this actor's CURVE key.
        """
        address = self.parse(address.url)
        keys = dialler_keys(self._secrets.key(options), address.param("curve"))
        with _bounded(address, options.connect_timeout):
            names = await _resolve(address)
            for index, (family, name) in enumerate(names):
                try:
                    with trio.move_on_after(options.connect_timeout / len(names)):
                        return await self._connect_to(family, name, address, keys, options)
                except OSError:
                    if index == len(names) - 1:
                        raise
            raise trio.TooSlowError
        raise AssertionError("unreachable")

    async def _connect_to(
        self,
        family: socket.AddressFamily,
        name: tuple[Any, ...],
        address: Address,
        keys: DiallerKeys,
        options: TransportOptions,
    ) -> ZmqConnection:
        def describe_ends(wire: Wire) -> tuple[Address, PeerFacts]:
            if wire.own_name == wire.peer_name:
                # An ephemeral port that nobody listens on can be dialled from that very port.
                raise NotConnected(errno.ECONNREFUSED, "nobody listens there")
            return _tcp_address(wire.own_name), PeerFacts(certificate=keys.listener, encrypted=True)

        def attempt() -> DealerLink:
            return DealerLink(addresses.tcp_endpoint(name[0], name[1]), address, keys, options)

        return await _dial(address, attempt, describe_ends, lambda: probe(family, name, address))

    async def listen(self, address: Address, options: TransportOptions) -> ZmqListener:
        """Bind; port 0 takes a free one. A name is bound on the first of its addresses."""
        address = self.parse(address.url)
        keys = listener_keys(self._secrets.key(options), address.param("curve"))
        family, name = (await _resolve(address))[0]
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            try:
                sock.setblocking(False)
                # On Linux this allows binding beside connections in TIME_WAIT, never beside a listener.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.bind(name)
                sock.listen(BACKLOG)
            except OSError as exc:
                what = (
                    "is already in use"
                    if exc.errno == errno.EADDRINUSE
                    else f"cannot be bound: {exc.strerror}"
                )
                raise OSError(exc.errno, f"{address} {what}") from exc
            bound = sock.getsockname()
            return ZmqListener(
                sock.detach(),
                addresses.tcp_endpoint(bound[0], bound[1]),
                as_bound(address, bound[1]),
                keys,
                options,
                lambda wire: (_tcp_address(wire.peer_name), PeerFacts()),
            )


class ZmqIpcTransport:
    """The transport named ``zmq+ipc``; see ``tractor_core.seams.Transport``.

    Socket files are as private as those of ``uds``, and a peer of another user is refused.
    """

    schemes = (addresses.IPC,)

    def __init__(self) -> None:
        self._secrets = _Secrets()

    def parse(self, url: str) -> Address:
        """Check a ``zmq+ipc:///absolute/path[?curve=/directory]`` URL."""
        return addresses.parse_ipc(url)

    def default_bind(self) -> Address:
        """A fresh name in this user's runtime directory."""
        return Address(addresses.IPC, path=str(fresh_path()))

    def default_registry(self) -> Address:
        """``registry.zmq.sock`` in this user's runtime directory."""
        return Address(addresses.IPC, path=str(runtime_directory() / addresses.REGISTRY_NAME))

    def exposure(self, address: Address) -> str:
        """``"user"``: the file is 0600."""
        return "user"

    def distance(self, address: Address) -> int | None:
        """1 where the file exists, else None: behind a plain unix socket, which is quicker."""
        return 1 if os.path.exists(address.path) else None

    async def connect(self, address: Address, options: TransportOptions) -> ZmqConnection:
        """Dial. ``PermissionError`` when the listener is another user's."""
        address = self.parse(address.url)
        keys = dialler_keys(self._secrets.key(options), address.param("curve"))
        local = Address(addresses.IPC, params=(("pid", str(os.getpid())),))

        def describe_ends(wire: Wire) -> tuple[Address, PeerFacts]:
            if wire.uid is not None and wire.uid != os.geteuid():
                raise PermissionError(errno.EPERM, f"{address} belongs to user {wire.uid}")
            return local, PeerFacts(wire.pid, wire.uid, keys.listener, same_host=True, encrypted=True)

        def attempt() -> DealerLink:
            return DealerLink(addresses.ipc_endpoint(address.path), address, keys, options)

        with _bounded(address, options.connect_timeout):
            return await _dial(
                address, attempt, describe_ends, lambda: probe(socket.AF_UNIX, address.path, address)
            )
        raise AssertionError("unreachable")

    async def listen(self, address: Address, options: TransportOptions) -> ZmqListener:
        """Bind; a socket file that nobody listens on is replaced."""
        address = self.parse(address.url)
        keys = listener_keys(self._secrets.key(options), address.param("curve"))
        directory = Path(address.path).parent
        prepare_directory(directory)
        if address.path == self.default_registry().path:
            # Once per tree, not once per actor: this looks at every file there.
            await sweep(directory, options.connect_timeout)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.setblocking(False)
            remove = await bind_file(sock, address.path, options.connect_timeout)
            try:
                return ZmqListener(
                    sock.detach(),
                    addresses.ipc_endpoint(address.path),
                    address,
                    keys,
                    options,
                    _describe_user,
                    remove,
                )
            except BaseException:
                remove()
                raise

    async def tidy(self) -> None:
        """Remove the automatic socket files of processes that were killed."""
        directory = runtime_directory()
        if directory.is_dir():
            await sweep(directory, _TIDY_PATIENCE)


def _describe_user(wire: Wire) -> tuple[Address, PeerFacts]:
    if wire.uid is not None and wire.uid != os.geteuid():
        raise PermissionError(errno.EPERM, f"process {wire.pid} belongs to user {wire.uid}")
    remote = Address(addresses.IPC, params=(("pid", str(wire.pid)),) if wire.pid else ())
    return remote, PeerFacts(wire.pid, wire.uid, same_host=True)


class _bounded:
    """Turns taking longer than so many seconds into ``TimeoutError``."""

    def __init__(self, address: Address, seconds: float) -> None:
        self._address = address
        self._seconds = seconds
        self._scope = trio.move_on_after(seconds)

    def __enter__(self) -> None:
        self._scope.__enter__()

    def __exit__(self, kind: Any, exc: BaseException | None, traceback: Any) -> bool:
        caught = bool(self._scope.__exit__(kind, exc, traceback))
        if self._scope.cancelled_caught or isinstance(exc, trio.TooSlowError):
            raise TimeoutError(
                errno.ETIMEDOUT, f"no answer from {self._address} within {self._seconds:g} s"
            ) from None
        return caught


async def _dial(
    address: Address,
    attempt: Callable[[], DealerLink],
    describe_ends: Callable[[Wire], tuple[Address, PeerFacts]],
    find_out: Callable[[], Awaitable[None]],
) -> ZmqConnection:
    """Dial until somebody answers or it is clear that nobody will."""
    await trio.lowlevel.checkpoint()
    hub = Hub.acquire()  # one context for all attempts
    try:
        return await _dial_within(address, attempt, describe_ends, find_out)
    finally:
        hub.release()


async def _dial_within(
    address: Address,
    attempt: Callable[[], DealerLink],
    describe_ends: Callable[[Wire], tuple[Address, PeerFacts]],
    find_out: Callable[[], Awaitable[None]],
) -> ZmqConnection:
    handshakes = 0
    while True:
        try:
            return await attempt().open(describe_ends)
        except NotConnected:
            # libzmq does not say why; the system does. Where it lets the probe in, somebody just came.
            await find_out()
            await trio.sleep(_RETRY)
        except HungUp as exc:
            handshakes += 1
            if handshakes == _HANDSHAKES:
                raise AuthenticationFailed(
                    f"{address} refused this actor by ending the CURVE handshake: it holds another key, "
                    "or is no listener of this kind"
                ) from exc
            await trio.sleep(_HANDSHAKE_PAUSE)


async def _resolve(address: Address) -> list[tuple[socket.AddressFamily, tuple[Any, ...]]]:
    """Families and socket names, IPv4 before IPv6 for a name that has both."""
    flags = socket.AI_NUMERICHOST if is_numeric(address.host) else 0
    try:
        found = await trio.socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=flags | socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as exc:
        raise OSError(errno.EADDRNOTAVAIL, f"cannot resolve {address.host!r} of {address}: {exc}") from exc
    names = dict.fromkeys((family, name) for family, _, _, _, name in found)
    return sorted(names, key=lambda entry: entry[0] != socket.AF_INET)


def _tcp_address(name: tuple[Any, ...]) -> Address:
    return Address(addresses.TCP, name[0], name[1])
