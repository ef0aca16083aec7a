"""The listening end: one ROUTER for all its peers."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import NoReturn

import trio
import zmq
from trio.lowlevel import checkpoint

from tractor_core.seams import (
    Address,
    ConnectionHandler,
    PeerFacts,
    PeerTasks,
    TransportOptions,
)

from .connection import ZmqConnection
from .descriptors import Wire
from .hub import opening
from .keys import ListenerKeys
from .lingering import GOING, LOOK_INTERVAL, Outflow, close
from .options import HEADER_SIZE, HELLO, LINGER, LOOK_AHEAD, PROTOCOL, Event, configure, read_event, readable
from .probing import PROBE_SEEN_AS
from .pump import Pump, Seat
from .visitors import Visitor, Visitors

#: Messages read before other tasks get their turn.
_BATCH = 512
#: While messages keep coming, every so manieth round looks at the other sockets too.
_GLANCE = 8
#: How long aclose() waits for libzmq's thread to hang up, and to stop listening (seconds): a millisecond.
_UNBIND_TIMEOUT = 1.0
#: As much of that as passes without other tasks having their turn (milliseconds).
_UNBIND_AT_ONCE = 20

_WATCHED = Event.ACCEPTED | Event.CLOSED | Event.DISCONNECTED | Event.HANDSHAKE_FAILED_PROTOCOL

#: Tells the address and facts of a peer, or raises ``OSError`` to refuse it.
DescribePeer = Callable[[Wire], tuple[Address, PeerFacts]]


class RouterLink:
    """The way to one peer of a ROUTER."""

    __slots__ = ("_listener", "connection", "identity", "pump", "visitor")

    connection: ZmqConnection

    def __init__(self, listener: ZmqListener, identity: bytes, visitor: Visitor) -> None:
        self._listener = listener
        self.identity = identity
        self.visitor = visitor
        self.pump = listener.pump

    def transmit(self, message: bytes) -> None:
        self._listener.transmit(self.identity, message)

    def check(self) -> None:
        self._listener.check()

    def catch_up(self) -> None:
        self._listener.catch_up(self.connection)

    def leave(self, *, at_once: bool) -> None:
        self._listener.part_from(self, at_once=at_once and self.connection.over)


class ZmqListener:
    """A bound ROUTER; implements the ``Listener`` protocol of the transport seam.

    ``descriptor`` is a listening socket, which libzmq takes over; ``remove`` undoes what binding made.
    """

    def __init__(
        self,
        descriptor: int,
        endpoint: str,
        address: Address,
        keys: ListenerKeys,
        options: TransportOptions,
        describe_peer: DescribePeer,
        remove: Callable[[], None] | None = None,
    ) -> None:
        self.address = address
        self._endpoint = endpoint
        self._options = options
        self._describe_peer = describe_peer
        self._remove = remove
        self._closed = False
        self._stopped = False
        self._peers: PeerTasks | None = None
        self._serving = Seat()
        self._by_identity: dict[bytes, RouterLink] = {}
        self._visitors = Visitors(address, options)
        #: Gone, but what they sent may still have to be read.
        self._gone: list[RouterLink] = []
        self._round = 0
        #: The last event was what a probe looks like.
        self._was_probe = False
        with ExitStack() as ours:
            # It is libzmq's from the bind on.
            ours.callback(os.close, descriptor)
            with opening() as (self._hub, undo):
                self._domain = self._hub.open_domain(keys.admitted)
                undo.callback(self._hub.close_domain, self._domain)
                self._socket = self._hub.context.socket(zmq.ROUTER)
                undo.callback(self._socket.close, 0)
                configure(self._socket, options.connect_timeout)
                self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
                self._socket.setsockopt(zmq.IPV6, int("[" in endpoint))
                self._socket.setsockopt(zmq.CURVE_SERVER, 1)
                self._socket.setsockopt(zmq.CURVE_SECRETKEY, keys.own.secret)
                self._socket.setsockopt(zmq.ZAP_DOMAIN, self._domain)
                # Without this, whoever knows the listener's public key gets in while nobody answers for it.
                self._socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
                self._socket.setsockopt(zmq.USE_FD, descriptor)
                self._monitor = self._hub.monitor(self._socket, _WATCHED)
                undo.callback(close, self._socket, self._monitor, 0)
                self.pump = Pump((self._monitor, self._hub.zap, self._socket), self._work)
            ours.pop_all()
        try:
            self._socket.bind(endpoint)
        except BaseException:
            self._release()
            raise

    def __repr__(self) -> str:
        return f"<ZmqListener {self.address} {'closed' if self._closed else 'open'}>"

    # -- the seam ---------------------------------------------------------------------------------

    async def serve(
        self, handler: ConnectionHandler, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> NoReturn:
        """Accept for ever; see the seam's contract."""
        if self._closed:
            raise self._closed_error()
        try:
            async with trio.open_nursery() as nursery:
                peers = self._peers = PeerTasks(nursery, handler, self._options.max_connections)
                nursery.start_soon(self._visitors.sweep_forever)
                task_status.started()
                await self.pump.until(self._serving, lambda: self._closed and not len(peers))
                nursery.cancel_scope.cancel()
        finally:
            await self._stop_serving()
        raise self._closed_error()

    async def aclose(self) -> None:
        """Stop listening. Idempotent; done even if cancelled."""
        if self._closed:
            await checkpoint()
            return
        self._closed = True
        self._hub.close_domain(self._domain)
        if self._remove is not None:
            self._remove()
        # Unbinding would end every connection that libzmq accepted: while there are peers, newcomers
        # are refused at the door, and serve() stops when the last one has left.
        if self._peers is None:
            await self._stop()
        else:
            self.pump.wake(self._serving)
            await checkpoint()

    # -- for the connections ------------------------------------------------------------------------

    def transmit(self, identity: bytes, message: bytes) -> None:
        """Give libzmq one message for one peer; ``zmq.ZMQError`` where it has no way there."""
        self._socket.send(identity, zmq.SNDMORE | zmq.NOBLOCK)
        self._socket.send(message, zmq.NOBLOCK)

    def check(self) -> None:
        """Read what came while sending."""
        self.pump.check(self._socket)

    def catch_up(self, connection: ZmqConnection) -> None:
        """Read what came; see ``Link``."""
        for _ in range(LOOK_AHEAD // _BATCH):
            if connection.over or self._read_messages() < _BATCH:
                return

    def part_from(self, link: RouterLink, *, at_once: bool) -> None:
        """End a peer's connection: now, or when it had time to read the goodbye."""
        visitor = link.visitor
        if at_once:
            visitor.hang_up()
        elif visitor.link is link:
            self._visitors.watch(visitor, LINGER / 1000)
        self.pump.wake(self._serving)

    # -- inside -------------------------------------------------------------------------------------

    def _work(self) -> bool:
        self._round += 1
        count = self._read_messages()
        more = count == _BATCH
        if count == 0 or self._round % _GLANCE == 0:
            # The other sockets keep the pump awake until somebody looks, so they can wait for a lull.
            if readable(self._monitor):
                self._read_events()
            more = self._hub.answer() or more
            more = self._read_messages() == _BATCH or more
        if more:
            return True
        # Whatever the lost peers had sent has been read by now.
        gone, self._gone = self._gone, []
        for link in gone:
            del self._by_identity[link.identity]
            link.connection.cut()
        self._visitors.take_leave()
        return False

    def _read_messages(self) -> int:
        """Read what there is, up to a batch; returns how many."""
        sock, links = self._socket, self._by_identity
        for count in range(_BATCH):
            if not readable(sock):
                return count
            identity = sock.recv(zmq.NOBLOCK)
            link = links.get(identity)
            if link is None:
                self._welcome(identity)
                continue
            message = sock.recv(zmq.NOBLOCK)
            if sock.get(zmq.RCVMORE):
                self._discard_parts()
                link.connection.violated("sent a message of several parts")
                continue
            link.connection.deliver(message)
        return _BATCH

    def _welcome(self, identity: bytes) -> None:
        """The first message of a peer."""
        frame = self._socket.recv(zmq.NOBLOCK, copy=False)
        message = frame.bytes
        whole = not frame.more
        if not whole:
            self._discard_parts()
        # A descriptor means the peer that has it now, not one that had it before.
        self._read_events()
        visitor = self._visitors.origin(int(frame.get(zmq.SRCFD)))
        if visitor.link is not None:
            self._lose(visitor.link)
            visitor.link = None
        if not (whole and message.startswith(HELLO) and message[HEADER_SIZE:] == PROTOCOL):
            self._visitors.refuse(visitor, "does not speak " + PROTOCOL.decode())
            return
        try:
            remote, facts = self._describe(visitor, str(frame.get("Peer-Address")))
        except OSError as exc:
            self._visitors.refuse(visitor, str(exc))
            return
        certificate = bytes.fromhex(str(frame.get("User-Id")))
        facts = PeerFacts(facts.pid, facts.uid, certificate, None, facts.same_host, encrypted=True)
        self._introduce(identity, visitor, message[1:HEADER_SIZE], remote, facts)

    def _describe(self, visitor: Visitor, host: str) -> tuple[Address, PeerFacts]:
        if visitor.wire is not None:
            return self._describe_peer(visitor.wire)
        # It has gone already, before this task came to look; what it sent is as good as any.
        host = "" if self.address.path else host
        return Address(self.address.scheme, host), PeerFacts()

    def _introduce(
        self, identity: bytes, visitor: Visitor, token: bytes, remote: Address, facts: PeerFacts
    ) -> None:
        if self._peers is None or self._closed:
            self._visitors.refuse(visitor, "the listener is closing")
            return
        link = RouterLink(self, identity, visitor)
        limit = self._options.handshake_frame
        link.connection = ZmqConnection(link, token, self.address, remote, facts, limit)
        visitor.link = self._by_identity[identity] = link
        self._visitors.acquit(visitor)
        if self._visitors.at(visitor.descriptor) is not visitor or visitor.wire is None:
            self._lose(link)
        self._peers.admit(link.connection)

    def _discard_parts(self) -> None:
        while self._socket.get(zmq.RCVMORE):
            self._socket.recv(zmq.NOBLOCK)

    # -- who is there ---------------------------------------------------------------------------------

    def _read_events(self) -> None:
        while (event := read_event(self._monitor)) is not None:
            number, descriptor = event
            if number in (Event.ACCEPTED, Event.DISCONNECTED):
                link = self._visitors.left(descriptor, only_looked=self._was_probe)
                if link is not None:
                    self._lose(link)
            # Of a handshake that failed, libzmq's next word is which descriptor that was.
            self._was_probe = number == Event.HANDSHAKE_FAILED_PROTOCOL and descriptor == PROBE_SEEN_AS
            if number == Event.ACCEPTED:
                self._visitors.arrived(descriptor)
            elif number == Event.CLOSED:
                self._stopped = True

    def _lose(self, link: RouterLink) -> None:
        if self._by_identity.get(link.identity) is link and link not in self._gone:
            self._gone.append(link)

    # -- the end --------------------------------------------------------------------------------------

    async def _stop_serving(self) -> None:
        self._peers = None
        if self._closed:
            await self._stop()

    async def _stop(self) -> None:
        """Unbind, and wait until libzmq's own thread has: only then is the address free."""
        if not self.pump.closed:
            try:
                with trio.CancelScope(shield=True):
                    await self._see_off()
                    if not self.pump.closed:
                        await self._unbind()
            finally:
                self._release()
        await checkpoint()

    async def _see_off(self) -> None:
        """Wait until everybody is gone, and hang up on those that do not go: see lingering.py.

        Most go by themselves when they have read the END. Unbinding would end their connections too.
        """
        present = self._visitors.present
        outflows = {visitor: self._outflow(visitor) for visitor in present()}
        with trio.move_on_after(LINGER / 1000):
            while present() and not self.pump.closed:
                self._hang_up_where_done(outflows)
                with trio.move_on_after(LOOK_INTERVAL):
                    await self._until_empty()
        for visitor in present():
            visitor.hang_up()
        with trio.move_on_after(GOING):
            await self._until_empty()
        if present() and not self.pump.closed:
            self._socket.setsockopt(zmq.LINGER, 0)

    def _outflow(self, visitor: Visitor) -> Outflow | None:
        """What is to be waited for; None where there is nothing to say to somebody."""
        if visitor.wire is None or visitor.link is None or visitor.link.connection.over:
            return None
        return Outflow(visitor.descriptor, visitor.wire, visitor.link.connection.under_way)

    def _hang_up_where_done(self, outflows: dict[Visitor, Outflow | None]) -> None:
        now = time.monotonic()
        for visitor in self._visitors.present():
            outflow = outflows.get(visitor)
            if outflow is None or outflow.has_left(now):
                visitor.hang_up()

    async def _until_empty(self) -> None:
        await self.pump.until(Seat(), lambda: self.pump.closed or not self._visitors.present())

    async def _unbind(self) -> None:
        """Free the address. Whatever computes meanwhile would leave what was accepted half closed."""
        self._socket.unbind(self._endpoint)
        patience = time.monotonic() + _UNBIND_AT_ONCE / 1000
        while not self._stopped and time.monotonic() < patience:
            self._monitor.poll(_UNBIND_AT_ONCE)
            self._read_events()
        with trio.move_on_after(_UNBIND_TIMEOUT):
            await self.pump.until(Seat(), lambda: self._stopped or self.pump.closed)

    def _release(self) -> None:
        """Close the sockets; goodbyes are still written. Idempotent."""
        if self.pump.closed:
            return
        self.pump.close()
        for link in self._by_identity.values():
            link.connection.cut(OSError(errno.ESHUTDOWN, os.strerror(errno.ESHUTDOWN)))
        self._by_identity.clear()
        linger = int(self._socket.get(zmq.LINGER))
        close(self._socket, self._monitor, linger)
        self._hub.close_domain(self._domain)
        self._hub.release()

    def _closed_error(self) -> trio.ClosedResourceError:
        return trio.ClosedResourceError(f"the listener on {self.address} was closed")
