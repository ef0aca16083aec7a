"""``mem://name``: connections inside one ``trio.run``, with faults on request.

No descriptor is involved, so everything works under ``trio.testing.MockClock``, delays included.
Frames are bytes all the same: nothing is shared between the two ends. Names belong to the
:class:`MemNetwork` of the current ``trio.run`` and are gone with it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import NoReturn

import trio

from tractor_core.errors import TransportClosed
from tractor_core.seams import (
    Address,
    Buffer,
    ConnectionHandler,
    PeerFacts,
    PeerTasks,
    TransportOptions,
    parse_address,
)

from .mem_pipe import Fault, MemPipe

SCHEME = "mem"

_network: trio.lowlevel.RunVar[MemNetwork] = trio.lowlevel.RunVar("tractor_core mem network")


class MemNetwork:
    """The names and connections of one ``trio.run``; found with :meth:`current`."""

    def __init__(self) -> None:
        self.listeners: dict[str, MemListener] = {}
        #: Both ends of every connection that is open, the dialling end first, oldest first.
        self.connections: list[MemConnection] = []
        #: How long a frame is under way on connections made from now on (seconds of trio's clock).
        self.delay = 0.0
        self._serial = 0

    @classmethod
    def current(cls) -> MemNetwork:
        """The network of this ``trio.run``, made on first use. ``RuntimeError`` outside trio."""
        try:
            return _network.get()
        except LookupError:
            network = cls()
            _network.set(network)
            return network

    def dialled(self, name: str) -> list[MemConnection]:
        """The dialling ends of the open connections to ``mem://name``, oldest first."""
        return [end for end in self.connections if end.remote.host == name]

    def fresh_name(self) -> str:
        """A name that no listener of this network has."""
        while True:
            self._serial += 1
            if (name := f"auto-{self._serial}") not in self.listeners:
                return name


class MemConnection:
    """One end of a connection in memory; implements the seam's ``Connection``.

    Faults are set on the end that *sends*: they change what the other end receives.
    """

    def __init__(
        self,
        network: MemNetwork,
        local: Address,
        remote: Address,
        outgoing: MemPipe,
        incoming: MemPipe,
        max_frame: int,
    ) -> None:
        self.local = local
        self.remote = remote
        self.facts = PeerFacts(pid=os.getpid(), uid=os.getuid(), same_host=True)
        self.max_frame = max_frame
        self.max_send_frame: int | None = None
        self.established = False
        self._network = network
        self._outgoing = outgoing
        self._incoming = incoming
        self._closed = False
        network.connections.append(self)

    def __repr__(self) -> str:
        return f"<MemConnection {self.local} -> {self.remote} {'closed' if self._closed else 'open'}>"

    # -- the seam ---------------------------------------------------------------------------

    @property
    def pending(self) -> bool:
        """True while a frame that was taken found no room yet."""
        return self._outgoing.clogged

    def send_nowait(self, frames: Sequence[Buffer]) -> int:
        """Copy frames into the pipe while there is room, and one more that then waits for it."""
        self._check_open()
        taken = 0
        while taken < len(frames) and not self._outgoing.clogged:
            self._outgoing.put(bytes(frames[taken]))
            taken += 1
        return taken

    async def flush(self) -> None:
        """Wait until the pipe has room for all that was taken."""
        self._check_open()
        await self._outgoing.wait_room()

    async def receive(self) -> Sequence[Buffer]:
        """Wait for frames."""
        self._check_open()
        return await self._incoming.take(lambda: self.max_frame)

    def abort(self) -> None:
        """Close at once; a frame that waits for room is lost."""
        if not self._closed:
            self._closed = True
            self._network.connections.remove(self)
            self._outgoing.close_sender()
            self._incoming.close_receiver()

    async def aclose(self) -> None:
        """Close."""
        self.abort()
        await trio.lowlevel.checkpoint()

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError(f"the connection to {self.remote} was closed here")

    # -- faults -----------------------------------------------------------------------------

    @property
    def delay(self) -> float:
        """How long each frame sent from now on is under way (seconds of trio's clock)."""
        return self._outgoing.delay

    @delay.setter
    def delay(self, seconds: float) -> None:
        self._outgoing.delay = seconds

    def set_fault(self, fault: Fault | None) -> None:
        """Pass every frame sent from now on through ``fault(frame)``; None drops the frame."""
        self._outgoing.fault = fault

    def drop(self, count: int = 1) -> None:
        """Lose the next ``count`` frames."""
        self._outgoing.faults.extend([lambda frame: None] * count)

    def truncate(self, size: int, count: int = 1) -> None:
        """Deliver only the first ``size`` bytes of the next ``count`` frames."""
        self._outgoing.faults.extend([lambda frame: frame[:size]] * count)

    def corrupt(self, count: int = 1) -> None:
        """Invert every bit of the next ``count`` frames."""
        self._outgoing.faults.extend([lambda frame: bytes(byte ^ 0xFF for byte in frame)] * count)

    def cut(self, after: int = 0) -> None:
        """Break the path, both ways and for both ends, once ``after`` more frames were sent.

        What is still under way is lost; both ends get ``TransportClosed``.
        """
        self._outgoing.cut_after(after, self._cut_now)

    def _cut_now(self) -> None:
        reason = ConnectionResetError(errno.ECONNRESET, "cut on request")
        error = TransportClosed(f"the path between {self.local} and {self.remote} was cut", src_exc=reason)
        self._outgoing.break_with(error)
        self._incoming.break_with(error)


class MemListener:
    """A name that can be dialled; implements the seam's ``Listener``."""

    def __init__(self, network: MemNetwork, address: Address, options: TransportOptions) -> None:
        self.address = address
        self.options = options
        self._network = network
        self._closed = False
        self._arrived: list[MemConnection] = []
        self._lot = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        return f"<MemListener {self.address} {'closed' if self._closed else 'open'}>"

    async def serve(
        self, handler: ConnectionHandler, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> NoReturn:
        """Accept for ever; see the seam's contract."""
        self._check_open()
        async with trio.open_nursery() as nursery:
            peers = PeerTasks(nursery, handler, self.options.max_connections)
            task_status.started()
            while not self._closed:
                await trio.lowlevel.checkpoint()
                if not self._arrived and not self._closed:
                    await self._lot.park()
                arrived, self._arrived = self._arrived, []
                for connection in arrived:
                    peers.admit(connection)
        self._check_open()
        raise AssertionError("unreachable")

    async def aclose(self) -> None:
        """Stop listening; peers that were not accepted yet are closed."""
        if not self._closed:
            self._closed = True
            del self._network.listeners[self.address.host]
            for connection in self._arrived:
                connection.abort()
            self._arrived.clear()
            self._lot.unpark_all()
        await trio.lowlevel.checkpoint()

    def arrive(self, connection: MemConnection) -> None:
        """Queue a peer that dialled."""
        self._arrived.append(connection)
        self._lot.unpark_all()

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError(f"the listener on {self.address} was closed")


class MemTransport:
    """The transport named ``mem``. Stateless; see ``tractor_core.seams.Transport``."""

    schemes = (SCHEME,)

    def parse(self, url: str) -> Address:
        """Check a ``mem://name`` URL; an empty name asks the listener to choose one."""
        address = parse_address(url)
        if address.scheme != SCHEME:
            raise ValueError(f"address {url!r}: scheme {address.scheme!r} is not mem")
        if address.port is not None or address.path or address.params:
            raise ValueError(f"address {url!r}: a mem address is 'mem://name' and nothing more")
        return address

    def default_bind(self) -> Address:
        """``mem://``: a fresh name."""
        return Address(SCHEME)

    def default_registry(self) -> Address:
        """``mem://registry``."""
        return Address(SCHEME, "registry")

    def exposure(self, address: Address) -> str:
        """Always ``"user"``: nobody outside this process can reach it."""
        return "user"

    def distance(self, address: Address) -> int | None:
        """0 where somebody listens in this ``trio.run``, else None."""
        try:
            return 0 if address.host in MemNetwork.current().listeners else None
        except RuntimeError:
            return None

    async def connect(self, address: Address, options: TransportOptions) -> MemConnection:
        """Dial a name of this ``trio.run``."""
        await trio.lowlevel.checkpoint()
        address = self.parse(address.url)
        network = MemNetwork.current()
        listener = network.listeners.get(address.host)
        if listener is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"nobody listens on {address}")
        there, back = MemPipe(network.delay), MemPipe(network.delay)
        dialler = Address(SCHEME)
        ours = MemConnection(network, dialler, address, there, back, options.handshake_frame)
        theirs = MemConnection(network, address, dialler, back, there, listener.options.handshake_frame)
        listener.arrive(theirs)
        return ours

    async def listen(self, address: Address, options: TransportOptions) -> MemListener:
        """Take a name; ``EADDRINUSE`` when somebody has it."""
        await trio.lowlevel.checkpoint()
        network = MemNetwork.current()
        address = self.parse(address.url)
        if not address.host:
            address = Address(SCHEME, network.fresh_name())
        if address.host in network.listeners:
            raise OSError(errno.EADDRINUSE, f"{address} is already in use")
        listener = network.listeners[address.host] = MemListener(network, address, options)
        return listener


#: What the entry point ``tractor_core.transports`` → ``mem`` names.
transport = MemTransport()
