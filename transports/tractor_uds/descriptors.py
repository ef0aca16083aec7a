"""A unix socket's connection that can pass file descriptors besides frames."""

from __future__ import annotations

import array
import os
import socket
import sys
from collections.abc import Sequence
from typing import Any

from tractor_core.errors import TransportClosed
from tractor_core.seams import Buffer, SocketConnection, pack_header

_SIZE = array.array("i").itemsize
#: Room for what comes beside the data: one descriptor, and another one that shows that there were more.
_BESIDE = socket.CMSG_SPACE(2 * _SIZE)


class UdsConnection(SocketConnection):
    """Implements the ``DescriptorConnection`` protocol of the transport seam too, on Linux.

    Data is read in a way that makes the kernel discard descriptors, except while one is expected: so nobody
    can make this process hold any, and reading costs what it costs elsewhere.
    """

    __slots__ = ("_plain", "_received")

    passes_descriptors = sys.platform == "linux"

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        #: The socket itself, while ``_sock`` is what reads descriptors from it.
        self._plain: socket.socket | None = None
        self._received: int | None = None

    def send_descriptor(self, frame: Buffer, descriptor: int) -> bool:
        """Send it with the first byte of the frame; see the seam's contract."""
        if self._closed:
            raise self._closed_error()
        if self.pending:
            return False
        data = pack_header(len(frame)) + frame
        beside = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
        try:
            sent = self._sock.sendmsg([data], beside, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return False
        except OSError as exc:
            raise self._broken(exc) from exc
        if sent < len(data):
            self._keep_rest([frame], 0, sent)
        return True

    def expect_descriptor(self) -> None:
        """Read with room for one, until it has come."""
        if self._plain is None and not self._closed:
            self._plain = self._sock
            self._sock = _DescriptorReader(self._sock, self._keep)  # type: ignore[assignment]

    def take_descriptor(self) -> int | None:
        """What has come, from now on the caller's."""
        descriptor, self._received = self._received, None
        return descriptor

    def abort(self) -> None:
        """Close now, with what was not taken."""
        super().abort()
        if (descriptor := self.take_descriptor()) is not None:
            os.close(descriptor)

    def _keep(self, descriptors: Sequence[int]) -> None:
        """Take one descriptor, and no more from now on."""
        # Who was reading when the first one came goes on with the same reader until a frame is whole.
        if len(descriptors) > 1 or self._plain is None:
            for descriptor in descriptors:
                os.close(descriptor)
            raise TransportClosed(f"{self.remote} sent more than the one descriptor it was asked for")
        self._sock, self._plain = self._plain, None
        self._received = descriptors[0]


class _DescriptorReader:
    """A socket in all its ways, but for reading: that gives descriptors to ``keep``."""

    def __init__(self, sock: socket.socket, keep: Any) -> None:
        self._sock = sock
        self._keep = keep

    def recv(self, size: int) -> bytes:
        """Like the socket's."""
        data, beside, _, _ = self._sock.recvmsg(size, _BESIDE, socket.MSG_CMSG_CLOEXEC)
        self._take(beside)
        return data

    def recv_into(self, buffer: Buffer) -> int:
        """Like the socket's."""
        return self.recvmsg_into((buffer,))[0]

    def recvmsg_into(self, buffers: Sequence[Buffer]) -> tuple[int]:
        """How many bytes were read; that is all of its answer that anybody here asks for."""
        count, beside, _, _ = self._sock.recvmsg_into(buffers, _BESIDE, socket.MSG_CMSG_CLOEXEC)
        self._take(beside)
        return (count,)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def _take(self, beside: Sequence[tuple[int, int, bytes]]) -> None:
        descriptors = array.array("i")
        for level, kind, data in beside:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                descriptors.frombytes(data[: len(data) // _SIZE * _SIZE])
        if descriptors:
            self._keep(descriptors)
