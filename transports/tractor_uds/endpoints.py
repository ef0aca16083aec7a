"""Dialling and listening over unix sockets."""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import trio

from tractor_core.seams import (
    Address,
    PeerFacts,
    SocketListener,
    ThrottledLog,
    TransportOptions,
)
from tractor_core.seams.socket_files import BACKLOG, bind_file, sweep
from tractor_core.seams.socket_paths import fresh_path, prepare_directory, runtime_directory

from . import paths
from .descriptors import UdsConnection

_CREDENTIALS = struct.Struct("3i")
#: How often a full backlog is tried again (seconds); the kernel gives no event for it.
_BACKLOG_RETRY = 0.01
#: How long tidying waits for somebody else who is binding one of the files (seconds).
_TIDY_PATIENCE = 0.1


class UdsTransport:
    """The transport named ``uds``. Stateless; see ``tractor_core.seams.Transport``."""

    schemes = (paths.SCHEME,)

    def parse(self, url: str) -> Address:
        """Check a ``uds:///absolute/path`` or ``uds:@abstract-name`` URL."""
        return paths.parse(url)

    def default_bind(self) -> Address:
        """A fresh name in this user's runtime directory."""
        return Address(paths.SCHEME, path=str(fresh_path()))

    def default_registry(self) -> Address:
        """``registry.sock`` in this user's runtime directory."""
        return Address(paths.SCHEME, path=str(runtime_directory() / paths.REGISTRY_NAME))

    def exposure(self, address: Address) -> str:
        """``"user"`` for a file; ``"host"`` for an abstract name, which has no permissions."""
        return "host" if paths.is_abstract(address) else "user"

    def distance(self, address: Address) -> int | None:
        """0 where the name may lead to somebody on this host, else None."""
        return 0 if paths.is_abstract(address) or os.path.exists(address.path) else None

    async def connect(self, address: Address, options: TransportOptions) -> UdsConnection:
        """Dial. ``PermissionError`` when the listener is another user's."""
        address = paths.parse(address.url)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            await _dial(sock, address, options.connect_timeout)
            facts = _peer_facts(sock)
            if facts.uid is not None and facts.uid != os.geteuid():
                raise PermissionError(errno.EPERM, f"{address} belongs to user {facts.uid}")
        except BaseException:
            sock.close()
            raise
        local = Address(paths.SCHEME, params=(("pid", str(os.getpid())),))
        return UdsConnection(sock, local, address, facts=facts, max_frame=options.handshake_frame)

    async def listen(self, address: Address, options: TransportOptions) -> SocketListener:
        """Bind; a socket file that nobody listens on is replaced."""
        address = paths.parse(address.url)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        remove: Callable[[], None] | None = None
        try:
            if paths.is_abstract(address):
                await trio.lowlevel.checkpoint()
                _bind_abstract(sock, address)
            else:
                directory = Path(address.path).parent
                prepare_directory(directory)
                if address == self.default_registry():
                    # Once per tree, not once per actor: this looks at every file there.
                    await sweep(directory, options.connect_timeout)
                remove = await bind_file(sock, address.path, options.connect_timeout)
            accepted = _Doorkeeper(address, options)
        except BaseException:
            sock.close()
            raise
        return SocketListener(sock, address, options, accepted, remove)

    async def tidy(self) -> None:
        """Remove the automatic socket files of processes that were killed."""
        directory = runtime_directory()
        if directory.is_dir():
            await sweep(directory, _TIDY_PATIENCE)


class _Doorkeeper:
    """Makes connections of accepted sockets, and turns other users away."""

    def __init__(self, address: Address, options: TransportOptions) -> None:
        self._address = address
        self._options = options
        self._log = ThrottledLog()

    def __call__(self, sock: socket.socket, _peer_name: object) -> UdsConnection | None:
        facts = _peer_facts(sock)
        if facts.uid is not None and facts.uid != os.geteuid():
            sock.close()
            self._log.warning(
                f"uid {facts.uid}", "%s refused process %s of user %s", self._address, facts.pid, facts.uid
            )
            return None
        remote = Address(paths.SCHEME, params=(("pid", str(facts.pid)),) if facts.pid else ())
        return UdsConnection(
            sock, self._address, remote, facts=facts, max_frame=self._options.handshake_frame
        )


async def _dial(sock: socket.socket, address: Address, timeout: float) -> None:
    deadline = trio.current_time() + timeout
    await trio.lowlevel.checkpoint()
    while True:
        error = sock.connect_ex(paths.socket_name(address))
        if error == 0:
            return
        if error in (errno.ENOENT, errno.ECONNREFUSED):
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"nobody listens on {address}")
        if error != errno.EAGAIN:
            raise OSError(error, f"cannot connect to {address}: {os.strerror(error)}")
        if trio.current_time() >= deadline:
            raise TimeoutError(errno.ETIMEDOUT, f"{address} accepted nobody within {timeout:g} s")
        await trio.sleep(_BACKLOG_RETRY)


def _bind_abstract(sock: socket.socket, address: Address) -> None:
    try:
        sock.bind(paths.socket_name(address))
    except OSError as exc:
        what = "is already in use" if exc.errno == errno.EADDRINUSE else f"cannot be bound: {exc.strerror}"
        raise OSError(exc.errno, f"{address} {what}") from exc
    sock.listen(BACKLOG)


def _peer_facts(sock: socket.socket) -> PeerFacts:
    """What the kernel says about the process at the other end, where it can say."""
    if sys.platform != "linux":
        return PeerFacts(same_host=True)
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(raw)
    return PeerFacts(pid=pid, uid=uid, same_host=True)
