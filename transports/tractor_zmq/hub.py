"""The ZeroMQ context of one ``trio.run``, and its answers to who may connect.

libzmq asks for every CURVE client over the inproc socket ``zeromq.zap.01`` of the context (ZAP, RFC
27). The question is answered by whichever listener is being served; see ``Pump``.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import trio
import zmq

from .lingering import Farewell, Lingering, Outflow
from .options import readable

#: Sockets in one context: a dialled connection needs three.
MAX_SOCKETS = 16_384

#: Descriptors, in pairs, that must be to be had before libzmq is asked for anything: where its threads find
#: none for their epoll instances, it ends the process.
_PAIRS_NEEDED = 8

_ZAP_ENDPOINT = "inproc://zeromq.zap.01"
_ZAP_VERSION = b"1.0"
#: The ZAP status that a dialler gets from a listener that was closed while it has peers.
CLOSING = b"500"
_BATCH = 64

_current: trio.lowlevel.RunVar[Hub | None] = trio.lowlevel.RunVar("tractor_zmq context", default=None)


class Hub:
    """One context, shared by all that :meth:`acquire` it within a ``trio.run``."""

    def __init__(self) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.context.set(zmq.MAX_SOCKETS, MAX_SOCKETS)
        self._lingering = Lingering(self.context.term)
        self._users = 0
        self._serial = itertools.count()
        #: By the ZAP domain of a listener: the public keys it admits.
        self._domains: dict[bytes, frozenset[bytes]] = {}
        self._zap: zmq.Socket[bytes] | None = None

    @classmethod
    def acquire(cls) -> Hub:
        """The hub of this ``trio.run``; each call owes a :meth:`release`. ``OSError`` without descriptors."""
        _check_room()
        hub = _current.get()
        if hub is None:
            hub = cls()
            _current.set(hub)
        hub._users += 1
        return hub

    def release(self) -> None:
        """The last to leave ends the context, once every socket has lingered as long as it may."""
        self._users -= 1
        if self._users:
            return
        _current.set(None)
        if self._zap is not None:
            self._zap.close(0)
        self._lingering.finish()

    def monitor(self, sock: zmq.Socket[bytes], events: int) -> zmq.Socket[bytes]:
        """A socket that reports what happens to the connections of ``sock``."""
        endpoint = f"inproc://tractor-zmq-monitor-{next(self._serial)}"
        sock.monitor(endpoint, events)
        try:
            monitor = self.context.socket(zmq.PAIR)
        except BaseException:
            sock.monitor(None, 0)
            raise
        # Without a limit: at one, libzmq's thread would wait for this one, and no heartbeat be answered.
        monitor.setsockopt(zmq.RCVHWM, 0)
        monitor.setsockopt(zmq.LINGER, 0)
        monitor.connect(endpoint)
        return monitor

    def dismiss(
        self, sock: zmq.Socket[bytes], monitor: zmq.Socket[bytes], outflow: Outflow, linger: int
    ) -> None:
        """End a connection, and then close its socket, once it has written all, or after ``linger`` ms."""
        self._lingering.take(Farewell(sock, monitor, outflow, linger))

    def open_domain(self, admitted: frozenset[bytes]) -> bytes:
        """A ZAP domain for a listener that admits these public keys."""
        domain = b"tractor-%d" % next(self._serial)
        self._domains[domain] = admitted
        return domain

    def close_domain(self, domain: bytes) -> None:
        """Nobody is admitted there any more."""
        self._domains.pop(domain, None)

    @property
    def zap(self) -> zmq.Socket[bytes]:
        """Where libzmq's questions arrive; bound on first use."""
        if self._zap is None:
            zap = self.context.socket(zmq.REP)
            zap.setsockopt(zmq.LINGER, 0)
            zap.bind(_ZAP_ENDPOINT)
            self._zap = zap
        return self._zap

    def answer(self) -> bool:
        """Answer what was asked, up to a batch; True when there is more."""
        zap = self.zap
        for _ in range(_BATCH):
            if not readable(zap):
                return False
            request = zap.recv_multipart(zmq.NOBLOCK)
            zap.send_multipart(self._reply(request), zmq.NOBLOCK)
        return True

    def _reply(self, request: list[bytes]) -> list[bytes]:
        # Version, request id, domain, address, identity, mechanism, credentials.
        serial = request[1] if len(request) > 1 else b""
        if len(request) == 7 and request[0] == _ZAP_VERSION and request[5] == b"CURVE":
            admitted, public = self._domains.get(request[2]), request[6]
            if admitted is None:
                return [_ZAP_VERSION, serial, CLOSING, b"the listener was closed", b"", b""]
            if public in admitted:
                # The user id comes with every message of that connection.
                return [_ZAP_VERSION, serial, b"200", b"OK", public.hex().encode(), b""]
        return [_ZAP_VERSION, serial, b"400", b"this key is not admitted", b"", b""]


@contextmanager
def opening() -> Iterator[tuple[Hub, ExitStack]]:
    """The hub, and a stack of what undoes the block where it fails, the acquiring of the hub included.

    What the system refuses to libzmq is an ``OSError``, as it is everywhere else.
    """
    hub = Hub.acquire()
    with ExitStack() as undo:
        undo.callback(hub.release)
        try:
            yield hub, undo
        except zmq.ZMQError as exc:
            raise OSError(exc.errno, os.strerror(exc.errno or 0)) from exc
        undo.pop_all()


def _check_room() -> None:
    """``OSError`` where the process has no descriptors left for libzmq."""
    with ExitStack() as opened:
        for _ in range(_PAIRS_NEEDED):
            for descriptor in os.pipe():
                opened.callback(os.close, descriptor)
