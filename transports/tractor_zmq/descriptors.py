"""The descriptors inside libzmq: who is at the other end, and how to hang up on one peer.

libzmq tells the number of a connection's descriptor and nothing else of it, and has no call to end
one connection of a ROUTER. The number may be reused at any moment by libzmq's own thread, so
everything here works on a duplicate (where there can be one), and recognises the connection by its inode.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import selectors
import socket
import struct
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

_CREDENTIALS = struct.Struct("3i")
_COUNT = struct.Struct("i")
#: Descriptors that newcomers leave for everything else in the process.
_RESERVE = 256


@dataclass(frozen=True, slots=True)
class Wire:
    """One established connection of libzmq's, as the system describes it."""

    inode: int
    own_name: Any
    peer_name: Any
    #: Process and user at the other end of a unix socket, where the system tells.
    pid: int | None = None
    uid: int | None = None

    @property
    def peer(self) -> str:
        """The other end, for a log line."""
        if isinstance(self.peer_name, tuple):
            return f"{self.peer_name[0]}:{self.peer_name[1]}"
        return f"process {self.pid}" if self.pid else "a process"


def describe(descriptor: int) -> Wire | None:
    """What the descriptor is connected to; None when it is not, or is no socket (any more)."""
    with _socket_at(descriptor) as sock:
        if sock is None:
            return None
        try:
            own, peer = sock.getsockname(), sock.getpeername()
            inode = os.fstat(sock.fileno()).st_ino
            if sock.family == socket.AF_UNIX and sys.platform == "linux":
                raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
                pid, uid, _ = _CREDENTIALS.unpack(raw)
                return Wire(inode, own, peer, pid, uid)
            return Wire(inode, own, peer)
        except OSError:
            return None


def hang_up(descriptor: int, inode: int) -> None:
    """End the connection, if the descriptor still is that one; libzmq then sees the end and cleans up."""
    with _still(descriptor, inode) as sock:
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it ended by itself


def unsent(descriptor: int, inode: int) -> int | None:
    """Bytes that the system took for the other end, and that are not there yet; None without the connection.

    Where the system does not count them, it is none when there is room for more, and more than any limit
    when there is not.
    """
    with _still(descriptor, inode) as sock:
        if sock is None:
            return None
        try:
            # Linux calls it SIOCOUTQ where it is about sockets.
            counted = fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(_COUNT.size))
        except OSError:
            return 0 if _has_room(sock) else sys.maxsize
        return int(_COUNT.unpack(counted)[0])


def is_scarce(descriptor: int) -> bool:
    """Whether a descriptor of this number says that the process will soon have no more.

    The lowest free number is given out first, so a number near the limit means that few are left.
    """
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return limit != resource.RLIM_INFINITY and descriptor >= limit - min(_RESERVE, limit // 4)


def _has_room(sock: socket.socket) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_WRITE)
        return bool(selector.select(0))


@contextmanager
def _still(descriptor: int, inode: int) -> Iterator[socket.socket | None]:
    """The connection, if the descriptor still is that one; else None."""
    with _socket_at(descriptor) as sock:
        yield sock if sock is not None and _inode(sock) == inode else None


def _inode(sock: socket.socket) -> int | None:
    try:
        return os.fstat(sock.fileno()).st_ino
    except OSError:
        return None  # it was not a duplicate, and has gone this moment


@contextmanager
def _socket_at(descriptor: int) -> Iterator[socket.socket | None]:
    """A socket object for the descriptor; None where it is none."""
    try:
        number = os.dup(descriptor)
    except OSError as exc:
        # Without a descriptor to be had, the one there is must do: better than to lose sight of it.
        number = descriptor if exc.errno in (errno.EMFILE, errno.ENFILE) else -1
    try:
        sock = socket.socket(fileno=number) if number >= 0 else None
    except OSError:
        sock = None
    try:
        yield sock
    finally:
        if number == descriptor:
            if sock is not None:
                sock.detach()
        elif sock is not None:
            sock.close()
        elif number >= 0:
            os.close(number)
