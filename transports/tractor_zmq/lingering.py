"""How connections end: libzmq must not be told of the closing of a socket while a connection is alive.

What it closes takes in no more, but goes on writing for its LINGER. When a peer that sends dies in that time,
libzmq 4.3 notes the error of the connection without acting on it, and its next heartbeat ends the whole
process (``Assertion failed: !_io_error``). So the connection is ended first, under libzmq's hands, when what
was sent is out of them (mostly the peer does so, having read the END); until then what comes is read and
thrown away. What is closed then has nobody at its other end.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import zmq

from .descriptors import Wire, hang_up, unsent
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
#: How long libzmq may take to notice that a connection was ended under its hands (seconds): 50 us mostly, but
#: on a busy machine its thread may not get to run.
GOING = 5.0
#: Messages thrown away before the next socket has its turn.
_BATCH = 4096


class Outflow:
    """Tells when all that one connection was given has certainly left libzmq, which itself does not say so.

    ``under_way`` is what the peer may not have taken yet (bytes).
    """

    __slots__ = ("_descriptor", "_dry_since", "_quiet_since", "_under_way", "_wire")

    def __init__(self, descriptor: int, wire: Wire, under_way: int) -> None:
        self._descriptor = descriptor
        self._wire = wire
        self._under_way = under_way
        self._quiet_since: float | None = None
        self._dry_since: float | None = None

    def has_left(self, now: float) -> bool:
        """Look; ``now`` (seconds) is any clock's, for all looks the same one."""
        if not self._is_dry(now):
            self._dry_since = None
            return False
        if self._dry_since is None:
            self._dry_since = now
        return now - self._dry_since >= _NOT_RUN

    def hang_up(self) -> None:
        """End the connection; the system still sends what it has been given."""
        hang_up(self._descriptor, self._wire.inode)

    def _is_dry(self, now: float) -> bool:
        """Whether libzmq could have written all.

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
        return now - self._quiet_since >= self._under_way / _PACE


class Farewell:
    """A monitored socket with one connection, which nobody uses any more.

    ``linger`` (milliseconds) is how long what was sent may take to leave; 0 where nobody will read it.
    """

    def __init__(
        self, sock: zmq.Socket[bytes], monitor: zmq.Socket[bytes], outflow: Outflow, linger: int
    ) -> None:
        self._socket = sock
        self._monitor = monitor
        self._outflow = outflow
        self._deadline = time.monotonic() + linger / 1000
        self._hung_up: float | None = None

    def try_to_end(self) -> bool:
        """Do what is to be done now, without waiting; True when the socket is closed."""
        try:
            if not self._has_gone() and not self._is_lost(time.monotonic()):
                self._discard()
                return False
        except zmq.ZMQError:
            pass  # the context is ending: so is the connection
        close(self._socket, self._monitor, 0)
        return True

    def _is_lost(self, now: float) -> bool:
        """Hang up when it is time to; whether libzmq has not noticed since, and never will."""
        if self._hung_up is not None:
            return now - self._hung_up >= GOING
        if now >= self._deadline or self._outflow.has_left(now):
            self._hung_up = now
            self._outflow.hang_up()
        return False

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
    """Close a socket that is monitored; it may write for ``linger`` milliseconds more, to whoever is left."""
    # In this order: libzmq's thread waits for room in a monitor that nobody reads, for ever.
    sock.monitor(None, 0)
    monitor.close(0)
    sock.close(linger)
