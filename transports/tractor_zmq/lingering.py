"""Closed sockets that must still write: libzmq must not be told of the closing while anything is stuck.

A socket that was closed writes on for its LINGER, but takes in no more. When a peer that sends dies in that
time, libzmq 4.3 notes the error of the connection without acting on it, and its next heartbeat ends the whole
process (``Assertion failed: !_io_error``). So a socket stays open, and what comes is read and thrown
away, until what was sent is out of libzmq's hands, or the peer has gone, or the time is over.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import zmq

from .descriptors import Wire, unsent
from .options import Event, read_event, readable

#: How often closed sockets are looked at (seconds): nothing tells when libzmq has written all it had.
LOOK_INTERVAL = 0.002
#: What every system takes at once for a connection whose buffer is empty (bytes).
_FITS = 32 * 1024
#: With no more than this in the system's buffer, libzmq is not waiting for room there (bytes).
_ALMOST_NOTHING = 4 * 1024
#: What libzmq encrypts and writes at the very least while nothing hinders it (bytes per second).
_PACE = 64 * 1024 * 1024
#: But its thread may not get to run for a while on a busy machine (seconds).
_NOT_RUN = 0.05
#: Messages thrown away before the next socket has its turn.
_BATCH = 4096


class Outflow:
    """Tells when all that one connection was given has left libzmq, which itself does not say so.

    ``under_way`` is what the peer may not have taken yet (bytes).
    """

    __slots__ = ("_descriptor", "_quiet_since", "_under_way", "_wire")

    def __init__(self, descriptor: int, wire: Wire, under_way: int) -> None:
        self._descriptor = descriptor
        self._wire = wire
        self._under_way = under_way
        self._quiet_since: float | None = None

    def is_dry(self, now: float) -> bool:
        """Look; ``now`` (seconds) is any clock's, for all looks the same one.

        Either everything fits into the system's buffer, or that has been empty for so long that libzmq
        would have filled it.
        """
        waiting = unsent(self._descriptor, self._wire.inode)
        if waiting is None or waiting + self._under_way <= _FITS:
            return True
        if waiting > _ALMOST_NOTHING:
            self._quiet_since = None
            return False
        if self._quiet_since is None:
            self._quiet_since = now
        return now - self._quiet_since >= max(_NOT_RUN, self._under_way / _PACE)


class Farewell:
    """A monitored socket with one connection, which nobody uses any more; ``linger`` in milliseconds."""

    def __init__(
        self, sock: zmq.Socket[bytes], monitor: zmq.Socket[bytes], outflow: Outflow, linger: int
    ) -> None:
        self._socket = sock
        self._monitor = monitor
        self._outflow = outflow
        self._linger = linger
        self._deadline = time.monotonic() + linger / 1000

    def try_to_end(self) -> bool:
        """Close the socket if that is safe now; True when it is closed."""
        now = time.monotonic()
        try:
            if self._has_gone() or now >= self._deadline:
                close(self._socket, self._monitor, 0)
            elif self._outflow.is_dry(now):
                close(self._socket, self._monitor, self._linger)
            else:
                self._discard()
                return False
        except zmq.ZMQError:
            close(self._socket, self._monitor, 0)
        return True

    def _has_gone(self) -> bool:
        while (event := read_event(self._monitor)) is not None:
            if event[0] == Event.DISCONNECTED:
                return True
        return False

    def _discard(self) -> None:
        for _ in range(_BATCH):
            if not readable(self._socket):
                return
            self._socket.recv(zmq.NOBLOCK, copy=False)


class Lingering:
    """Sees to the farewells of one context, and then ends the context, in a thread that lives only as long.

    It is no daemon: the interpreter would exit under it, and what was sent last would be lost.
    """

    def __init__(self, end_context: Callable[[], None]) -> None:
        self._end_context = end_context
        self._lock = threading.Lock()
        self._arrived: list[Farewell] = []
        self._finishing = False
        self._at_work = False

    def take(self, farewell: Farewell) -> None:
        """The sockets belong to the thread from here on."""
        with self._lock:
            self._arrived.append(farewell)
            self._work()

    def finish(self) -> None:
        """Nothing more will be taken: end the context after the last farewell."""
        with self._lock:
            self._finishing = True
            self._work()

    def _work(self) -> None:
        if not self._at_work:
            threading.Thread(target=self._run, name="tractor_zmq linger").start()
            self._at_work = True

    def _run(self) -> None:
        leaving: list[Farewell] = []
        while (finishing := self._collect(leaving)) is None:
            leaving = [farewell for farewell in leaving if not farewell.try_to_end()]
            if leaving:
                time.sleep(LOOK_INTERVAL)
        if finishing:
            # Waits for what the sockets have been given and not written: at most their LINGER.
            self._end_context()

    def _collect(self, leaving: list[Farewell]) -> bool | None:
        """Add what has arrived. Where there is nothing to do, whether that is so for good.

        If not, another thread is started when there is, which ends the context: two at once would be fatal.
        """
        with self._lock:
            leaving += self._arrived
            self._arrived.clear()
            if leaving:
                return None
            self._at_work = self._finishing
            return self._finishing


def close(sock: zmq.Socket[bytes], monitor: zmq.Socket[bytes], linger: int) -> None:
    """Close a socket that is monitored; it may write for ``linger`` milliseconds more.

    Only where nothing is stuck, or ``linger`` is 0.
    """
    # In this order: libzmq's thread waits for room in a monitor that nobody reads, for ever.
    sock.monitor(None, 0)
    monitor.close(0)
    sock.close(linger)
