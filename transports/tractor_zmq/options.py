"""The options that listeners and diallers set on their sockets, and the numbers of the protocol."""

from __future__ import annotations

import struct
from enum import IntFlag

import zmq

#: Largest frame (bytes). libzmq takes its limit when the socket is bound and can never raise it, so it
#: is the same for everybody; larger messages go in chunks, as they do over any transport.
MAX_FRAME = 256 * 1024
#: What a sender may have under way to a peer that has not taken it (bytes), and what each frame counts
#: for besides its own.
WINDOW = 1024 * 1024
FRAME_COST = 256
#: A receiver reports what it took when it amounts to this (bytes).
CREDIT_STEP = WINDOW // 4
#: Before that it reads so many messages if there are: more than are ever under way from an honest peer.
LOOK_AHEAD = 2 * WINDOW // FRAME_COST

#: The kinds of message, and what all begin with: kind and token.
HELLO, DATA, CREDIT, END = b"\x01", b"\x02", b"\x03", b"\x04"
TOKEN_SIZE = 16
HEADER_SIZE = 1 + TOKEN_SIZE
#: The body of a HELLO: what is spoken from here on.
PROTOCOL = b"tractor-zmq/1"

#: How long a closed socket goes on writing what was sent (milliseconds).
LINGER = 500
#: The same for one that was aborted: enough for a goodbye that is not stuck behind anything.
GOODBYE_LINGER = 100
#: An idle connection is probed so often, and broken when nothing was heard for so long (milliseconds). The
#: answers come from libzmq's thread: an actor that computes is kept, one that was stopped is not.
HEARTBEAT_INTERVAL = 1000
HEARTBEAT_TIMEOUT = 3000

#: Around a message of ours: flags, nonce and authenticator of CURVE.
_CURVE_OVERHEAD = 64
#: Messages libzmq queues for one peer. Credit keeps it well below, as long as the peer reads.
_SEND_QUEUE = LOOK_AHEAD
#: And from one peer: without a limit. At one, libzmq stops listening to the peer, and where that then dies,
#: its next heartbeat ends this process; see lingering.py. What comes beyond the credit ends the connection.
_RECEIVE_QUEUE = 0

_POLLIN = int(zmq.POLLIN)
_EVENT = struct.Struct("=Hi")


class Event(IntFlag):
    """What the monitor of a socket reports; see ``zmq_socket_monitor(3)``."""

    CONNECTED = 0x0001
    CONNECT_RETRIED = 0x0004
    ACCEPTED = 0x0020
    CLOSED = 0x0080
    DISCONNECTED = 0x0200
    HANDSHAKE_FAILED_NO_DETAIL = 0x0800
    HANDSHAKE_SUCCEEDED = 0x1000
    HANDSHAKE_FAILED_PROTOCOL = 0x2000
    HANDSHAKE_FAILED_AUTH = 0x4000


def readable(sock: zmq.Socket[bytes]) -> bool:
    """Whether a message can be received now."""
    return bool(sock.get(zmq.EVENTS) & _POLLIN)  # type: ignore[operator]  # an int, for this option


def read_event(monitor: zmq.Socket[bytes]) -> tuple[int, int] | None:
    """The next event of a monitor, as its number and its value; None when there is none."""
    if not readable(monitor):
        return None
    number, value = _EVENT.unpack(monitor.recv_multipart(zmq.NOBLOCK)[0])
    return number, value


def configure(sock: zmq.Socket[bytes], handshake_timeout: float) -> None:
    """Set what both sides have in common; ``handshake_timeout`` in seconds."""
    sock.setsockopt(zmq.LINGER, LINGER)
    sock.setsockopt(zmq.MAXMSGSIZE, HEADER_SIZE + MAX_FRAME + _CURVE_OVERHEAD)
    sock.setsockopt(zmq.SNDHWM, _SEND_QUEUE)
    sock.setsockopt(zmq.RCVHWM, _RECEIVE_QUEUE)
    sock.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_INTERVAL)
    sock.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT)
    sock.setsockopt(zmq.HANDSHAKE_IVL, max(1, int(handshake_timeout * 1000)))
