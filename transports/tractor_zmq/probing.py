"""Why nobody took a connection: libzmq does not say, the system does."""

from __future__ import annotations

import errno
import socket
from typing import Any

import trio
import zmq

from tractor_core.seams import Address

#: What a probe says where it finds a listener: a CURVE client's greeting (ZMTP 3.1, RFC 37), and that it ends
#: the handshake before it began. A listener would warn of a peer that leaves without a word.
_REASON = b"only looking"
_FAREWELL = b"\x05ERROR" + bytes([len(_REASON)]) + _REASON
SAID = (
    b"\xff" + bytes(8) + b"\x7f"  # signature
    b"\x03\x01" + b"CURVE".ljust(20, b"\0") + b"\0" + bytes(31)  # version, mechanism, client
    + b"\x04" + bytes([len(_FAREWELL)]) + _FAREWELL  # a command
)  # fmt: skip

#: And what the monitor of the listener then reports. Nobody else has reason to begin like that.
PROBE_SEEN_AS = int(zmq.PROTOCOL_ERROR_ZMTP_UNEXPECTED_COMMAND)

#: How long the listener may take to hang up, which says that it has read that (seconds).
_PATIENCE = 1.0


async def probe(family: socket.AddressFamily, name: Any, address: Address) -> None:
    """Raise why nobody can be reached there; return where somebody listens, if only with a full backlog."""
    with trio.socket.socket(family, socket.SOCK_STREAM) as sock:
        try:
            await sock.connect(name)
            refused = family != socket.AF_UNIX and sock.getsockname() == sock.getpeername()
        except BlockingIOError:
            return
        except OSError as exc:
            if exc.errno not in (errno.ECONNREFUSED, errno.ENOENT):
                raise OSError(exc.errno, f"cannot connect to {address}: {exc.strerror}") from exc
            refused = True
        if not refused:
            await _take_leave(sock)
    if refused:
        raise ConnectionRefusedError(errno.ECONNREFUSED, f"nobody listens on {address}")


async def _take_leave(sock: trio.socket.SocketType) -> None:
    with trio.move_on_after(_PATIENCE):
        try:
            await sock.send(SAID)
            while await sock.recv(4096):
                pass
        except OSError:
            pass  # it hung up first
