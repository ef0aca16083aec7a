"""The dialling end: one DEALER for one connection, which is never redialled."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable

import zmq

from tractor_core.errors import AuthenticationFailed
from tractor_core.seams import Address, PeerFacts, TransportOptions

from .connection import ZmqConnection
from .descriptors import Wire, describe
from .hub import CLOSING, opening
from .keys import DiallerKeys
from .lingering import Outflow, close
from .options import (
    GOODBYE_LINGER,
    HELLO,
    LINGER,
    LOOK_AHEAD,
    PROTOCOL,
    TOKEN_SIZE,
    Event,
    configure,
    read_event,
    readable,
)
from .pump import Pump, Seat

#: The pause before libzmq redials (milliseconds): 24 days, which is never. A new path to the same
#: address would lead to a peer that knows nothing of this connection. The documented -1 does not
#: redial either, but drops what was received and not read yet.
_NEVER = 2**31 - 1
#: Messages read before other tasks get their turn.
_BATCH = 256

_WATCHED = (
    Event.CONNECTED
    | Event.CONNECT_RETRIED
    | Event.CLOSED
    | Event.DISCONNECTED
    | Event.HANDSHAKE_SUCCEEDED
    | Event.HANDSHAKE_FAILED_NO_DETAIL
    | Event.HANDSHAKE_FAILED_PROTOCOL
    | Event.HANDSHAKE_FAILED_AUTH
)


class NotConnected(OSError):
    """Nobody took the connection; libzmq does not say why."""


class HungUp(OSError):
    """Somebody took the connection, and ended it during the CURVE handshake without a word."""


class DealerLink:
    """A DEALER, its monitor, and the one connection over it."""

    def __init__(self, endpoint: str, remote: Address, keys: DiallerKeys, options: TransportOptions) -> None:
        self._remote = remote
        self._options = options
        self._connection: ZmqConnection | None = None
        self._descriptor = -1
        self._wire: Wire | None = None
        self._state = 0
        self._failure: Exception | None = None
        self._lost = False
        with opening() as (self._hub, undo):
            self._socket = self._hub.context.socket(zmq.DEALER)
            undo.callback(self._socket.close, 0)
            configure(self._socket, options.connect_timeout)
            self._socket.setsockopt(zmq.RECONNECT_IVL, _NEVER)
            self._socket.setsockopt(zmq.IPV6, int("[" in endpoint))
            self._socket.setsockopt(zmq.CURVE_SERVERKEY, keys.listener)
            self._socket.setsockopt(zmq.CURVE_PUBLICKEY, keys.own.public)
            self._socket.setsockopt(zmq.CURVE_SECRETKEY, keys.own.secret)
            self._monitor = self._hub.monitor(self._socket, _WATCHED)
            undo.callback(close, self._socket, self._monitor, 0)
            self.pump = Pump((self._monitor, self._socket), self._work)
            undo.callback(self.pump.close)
            self._socket.connect(endpoint)

    async def open(self, describe_ends: Callable[[Wire], tuple[Address, PeerFacts]]) -> ZmqConnection:
        """Wait for the CURVE handshake; the connection then belongs to the caller.

        ``describe_ends`` tells the local address and the facts, or raises ``OSError`` to refuse the
        peer. Raises :class:`NotConnected`, :class:`HungUp`, ``AuthenticationFailed`` or another ``OSError``.
        """
        try:
            await self.pump.until(Seat(), lambda: self._state or self._failure)
            if self._failure is not None:
                raise self._failure
            self._wire = self._describe()
            local, facts = describe_ends(self._wire)
            token = secrets.token_bytes(TOKEN_SIZE)
            connection = ZmqConnection(self, token, local, self._remote, facts, self._options.handshake_frame)
            self.transmit(HELLO + token + PROTOCOL)
        except BaseException:
            self.leave(at_once=True)
            raise
        self._connection = connection
        self.check()
        return connection

    def _describe(self) -> Wire:
        wire = describe(self._descriptor)
        # The number is not given to anybody else before its end was reported: look again.
        self._read_events()
        if self._failure is not None:
            raise self._failure
        if wire is None:
            raise HungUp(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        return wire

    # -- for the connection ---------------------------------------------------------------------------

    def transmit(self, message: bytes) -> None:
        self._socket.send(message, zmq.NOBLOCK)

    def check(self) -> None:
        self.pump.check(self._socket)

    def catch_up(self) -> None:
        connection = self._connection
        for _ in range(LOOK_AHEAD // _BATCH):
            if connection is None or connection.over or self._read(connection) < _BATCH:
                return

    def leave(self, *, at_once: bool) -> None:
        """Close the sockets. Idempotent."""
        if self.pump.closed:
            return
        self.pump.close()
        self._read_events()
        connection, wire = self._connection, self._wire
        if connection is None or wire is None or self._lost:
            close(self._socket, self._monitor, 0)
        else:
            outflow = Outflow(self._descriptor, wire, connection.under_way)
            # Where it is over, nobody will read what is still to be written.
            linger = 0 if connection.over else GOODBYE_LINGER if at_once else LINGER
            self._hub.dismiss(self._socket, self._monitor, outflow, linger)
        self._hub.release()

    # -- inside -------------------------------------------------------------------------------------

    def _work(self) -> bool:
        connection = self._connection
        count = 0 if connection is None else self._read(connection)
        if count == 0:
            # The monitor keeps the pump awake until somebody looks, so it can wait for a lull. Messages are
            # looked for again behind it: what a lost peer had sent comes before its end.
            self._read_events()
            count = 0 if connection is None else self._read(connection)
        if connection is None or count == _BATCH:
            return count == _BATCH
        if self._lost:
            connection.cut()
        if connection.over:
            self.leave(at_once=False)
        return False

    def _read(self, connection: ZmqConnection) -> int:
        """Read what there is, up to a batch; returns how many."""
        sock = self._socket
        for count in range(_BATCH):
            if connection.over or not readable(sock):
                return count
            message = sock.recv(zmq.NOBLOCK)
            if sock.get(zmq.RCVMORE):
                connection.violated("sent a message of several parts")
            else:
                connection.deliver(message)
        return _BATCH

    def _read_events(self) -> None:
        while (event := read_event(self._monitor)) is not None:
            number, value = event
            if number == Event.CONNECTED:
                self._descriptor = value
            elif number == Event.HANDSHAKE_SUCCEEDED:
                self._state = number
            elif self._failure is None:
                self._failure = self._explain(number, value)
            self._lost = self._lost or number == Event.DISCONNECTED

    def _explain(self, number: int, value: int) -> Exception | None:
        if number in (Event.CLOSED, Event.CONNECT_RETRIED) and self._descriptor < 0:
            return NotConnected(errno.ECONNREFUSED, f"cannot connect to {self._remote}")
        if number == Event.HANDSHAKE_FAILED_AUTH and value == int(CLOSING):
            return ConnectionRefusedError(errno.ECONNREFUSED, f"nobody listens on {self._remote} any more")
        if number == Event.HANDSHAKE_FAILED_AUTH:
            return AuthenticationFailed(
                f"{self._remote} refused this actor: its CURVE key is not admitted there ({value})"
            )
        if number == Event.HANDSHAKE_FAILED_PROTOCOL:
            return ConnectionAbortedError(
                errno.EPROTO,
                f"what answers at {self._remote} speaks no ZeroMQ, or not as the holder of the key",
            )
        if number in (Event.HANDSHAKE_FAILED_NO_DETAIL, Event.DISCONNECTED):
            return HungUp(errno.ECONNRESET, f"{self._remote} hung up during the CURVE handshake")
        return None
