"""What an owner and its template say to each other, over a pair of ``SOCK_SEQPACKET`` sockets.

The owner first sends its :class:`Settings`, then one request for each actor, which carries nothing but
a key and descriptors: everything else goes from the owner to the new actor through a pipe, so that the
template neither reads secrets nor anything whose size it does not know. Both ends run the same
interpreter, so that :mod:`marshal` will do; it needs no import.
"""

from __future__ import annotations

import marshal
import os
import socket
import struct
from typing import Final, TypedDict

#: Descriptors that one message can carry (the kernel's ``SCM_MAX_FD``).
MOST_DESCRIPTORS: Final = 253

#: Most bytes of one message.
MESSAGE_SIZE: Final = 1 << 16

_DESCRIPTOR: Final = struct.Struct("=i")

#: A request: its key, and a bit for each of the owner's standard descriptors that come with it.
_REQUEST: Final = struct.Struct("=IB")

#: An answer: its kind, a key or process id, and a process id, error number or wait status.
_ANSWER: Final = struct.Struct("=cIi")

#: A new process: the request's key and the process id; carries its pidfd.
FORKED: Final = b"F"
#: The system refused to fork: the request's key and the error number.
REFUSED: Final = b"R"
#: A process was reaped: its id and wait status.
ENDED: Final = b"E"
#: The template could not be set up; what follows the record is why, as text.
FAILED: Final = b"X"


class Settings(TypedDict):
    """What a template must know to begin."""

    owner: int
    search_path: list[str]
    #: Modules without which the template is of no use.
    preload: list[str]
    #: Modules that actors will import themselves if this does not succeed.
    expected: list[str]
    #: What runs what actors will run (``"module:function"``); empty where nothing does.
    rehearsal: str


class Order(TypedDict):
    """What a forked process reads from its pipe."""

    search_path: list[str]
    environment: dict[bytes, bytes]
    #: Numbers of the signals that are blocked.
    blocked: list[int]
    title: str
    entry: str
    #: Names of the descriptors that came with the request, in their order.
    names: list[str]
    bootstrap: bytes


def receive(control: socket.socket, most: int) -> tuple[bytes, list[int]]:
    """One message and its descriptors, at most ``most``, which are not inheritable.

    An empty message where the other end is gone. No descriptors at all where the limit of open files kept
    one out.
    """
    # socket.recv_fds() would make them inheritable, whatever flags it is given (seen with 3.11).
    data, ancillary, flags, _ = control.recvmsg(
        MESSAGE_SIZE, socket.CMSG_LEN(most * _DESCRIPTOR.size), socket.MSG_CMSG_CLOEXEC
    )
    descriptors = [
        number
        for level, kind, content in ancillary
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
        for (number,) in _DESCRIPTOR.iter_unpack(
            content[: len(content) // _DESCRIPTOR.size * _DESCRIPTOR.size]
        )
    ]
    if flags & socket.MSG_CTRUNC:
        for number in descriptors:
            os.close(number)
        return data, []
    return data, descriptors


def pack_request(key: int, standard: int) -> bytes:
    """Bit ``n`` of ``standard`` says that the owner has its standard descriptor ``n``."""
    return _REQUEST.pack(key, standard)


def unpack_request(data: bytes) -> tuple[int, int]:
    """The key, and the bits of :func:`pack_request`."""
    key, standard = _REQUEST.unpack(data)
    return key, standard


def pack_answer(kind: bytes, key: int, value: int, text: str = "") -> bytes:
    """``text`` is cut to what a message holds."""
    return _ANSWER.pack(kind, key, value) + text.encode(errors="replace")[: MESSAGE_SIZE - _ANSWER.size]


def unpack_answer(data: bytes) -> tuple[bytes, int, int, str]:
    """Kind, key, value and text."""
    kind, key, value = _ANSWER.unpack_from(data)
    return kind, key, value, data[_ANSWER.size :].decode(errors="replace")


def pack_settings(settings: Settings) -> bytes:
    """What the launcher reads with :mod:`marshal` before anything of this package can be imported."""
    return marshal.dumps(dict(settings))


def pack_order(order: Order) -> bytes:
    """The order with its length before it, so that a reader can tell a whole one from a part."""
    data = marshal.dumps(dict(order))
    return len(data).to_bytes(8, "big") + data
