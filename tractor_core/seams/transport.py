"""The transport seam: how frames move between two actors.

A *frame* is one encoded message. A transport carries whole frames, in order, and knows nothing
of what is in them. All methods run in the trio thread.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, NoReturn, Protocol, TypeAlias, cast

import msgspec

from .address import Address
from .values import repr_without

Buffer: TypeAlias = bytes | bytearray | memoryview

#: A frame to be sent; in several buffers only where the connection ``gathers``.
Frame: TypeAlias = Buffer | tuple[Buffer, ...]

#: Largest frame taken from a peer that has not yet proved who it is (bytes).
HANDSHAKE_FRAME_LIMIT = 64 * 1024


class PeerFacts(msgspec.Struct, frozen=True):
    """What the transport itself proved about the peer; None where it proved nothing.

    ``uid`` and ``pid`` come from the kernel (unix sockets), ``certificate`` from TLS or CURVE,
    ``origin`` from a WebSocket upgrade. ``same_host`` is True only where the transport cannot
    leave this machine. ``certified``: each side has shown the other a certificate of an authority that it
    was told to trust, in this connection; that may stand in for the user's cookie. ``codec`` is
    ``"msgpack"`` or ``"json"`` where the transport's own negotiation settled what all frames are encoded
    in, those of the handshake included.
    """

    pid: int | None = None
    uid: int | None = None
    certificate: bytes | None = None
    origin: str | None = None
    same_host: bool = False
    encrypted: bool = False
    codec: str | None = None
    certified: bool = False


class TLSConfig(msgspec.Struct, frozen=True):
    """Paths of PEM files: this actor's certificate and key, and the authority peers must show."""

    cert: str
    key: str
    ca: str


class TransportOptions(msgspec.Struct, frozen=True):
    """What the runtime tells a transport. Sizes in bytes, times in seconds.

    ``handshake_frame`` limits each frame until the runtime raises ``Connection.max_frame``;
    ``key`` is the tree's secret, for transports that derive encryption keys from it;
    ``max_connections`` bounds what one listener holds at once, beyond which the oldest connection
    for which ``Connection.established`` is false is dropped;
    ``extra`` holds options addressed to one transport by its own names.
    """

    handshake_frame: int = HANDSHAKE_FRAME_LIMIT
    max_connections: int = 1024
    connect_timeout: float = 5.0
    key: bytes = b""
    tls: TLSConfig | None = None
    extra: dict[str, Any] = {}

    def __repr__(self) -> str:
        return repr_without(self, "key")


class Connection(Protocol):
    """A two-way, ordered, reliable path for frames to one peer.

    *Failures* are told apart once, here: closed by us is ``trio.ClosedResourceError``; broken is
    ``tractor_core.errors.TransportClosed`` with ``src_exc``; a clean end by the peer is an empty
    sequence from :meth:`receive`. A frame over ``max_frame`` raises ``FrameTooLarge`` from
    :meth:`receive` before its body is buffered.

    One task receives and one task flushes; they may run at the same time. ``send_nowait`` and
    ``abort`` may be called by any task.
    """

    local: Address
    remote: Address
    facts: PeerFacts
    #: Largest frame accepted from the peer (bytes). Starts at ``TransportOptions.handshake_frame``;
    #: the runtime raises it once the peer has proved itself.
    max_frame: int
    #: Largest frame this transport can carry towards the peer, or None where it has no limit.
    max_send_frame: int | None
    #: Set by the runtime once the peer has proved itself; see ``TransportOptions.max_connections``.
    established: bool

    @property
    def pending(self) -> bool:
        """True while frames that were taken are not yet wholly handed on: :meth:`flush` is owed."""
        ...

    def send_nowait(self, frames: Sequence[Buffer]) -> int:
        """Take frames from the front of the sequence, in order, without waiting.

        Returns how many were taken, 0 when clogged. A taken frame will be sent whole whatever is
        cancelled; what could not be written at once sets ``pending``. Fewer than all are taken only
        when ``pending`` is then true, so that :meth:`flush` waits for room. The buffers, of single
        bytes, may be reused as soon as this returns.
        """
        ...

    async def flush(self) -> None:
        """Wait until everything taken has been handed on, so that more can be taken.

        Cancellable at any moment without loss: a later flush goes on where this one stopped.
        """
        ...

    async def receive(self) -> Sequence[Buffer]:
        """Wait for frames: at least one, and all that have arrived whole. Empty: the peer ended.

        The buffers belong to the receiver and are never touched again. Cancellable without loss.
        """
        ...

    def abort(self) -> None:
        """Close at once, without a goodbye. Idempotent; tasks inside get ClosedResourceError."""
        ...

    async def aclose(self) -> None:
        """Close; what was taken may still be written if that needs no waiting. Idempotent.

        Resources are released even if this is cancelled or the transport fails.
        """
        ...


class Place(NamedTuple):
    """Where a frame's data belongs: writable ``memory`` for all of it from byte ``start`` of the frame on.

    ``finish`` is called once that is filled. What it returns, if anything, is received as a frame then.
    """

    start: int
    memory: memoryview
    finish: Callable[[], Buffer | None]


#: Asked for a place with a frame's first bytes and its length; None where it is to be received as it is.
Placer: TypeAlias = Callable[[memoryview, int], Place | None]


class DirectConnection(Connection, Protocol):
    """A connection that moves large frames without a copy in between. Optional: a connection that has
    ``gathers = True`` is one.

    Its ``send_nowait`` takes frames in several buffers too, as tuples: their bytes, one after the other,
    are the frame.
    """

    gathers: bool
    #: Set by who takes the frames. ``receive`` asks it for larger ones, when all frames returned before have
    #: been dealt with.
    placer: Placer | None

    def send_nowait(self, frames: Sequence[Frame]) -> int:
        """As any connection's."""
        ...


def as_direct(connection: Connection) -> DirectConnection | None:
    """The connection, if it can do what a :class:`DirectConnection` can."""
    return cast("DirectConnection", connection) if getattr(connection, "gathers", False) else None


class DescriptorConnection(Connection, Protocol):
    """A connection to another process of this host that can pass it file descriptors. Optional: a connection
    that has ``passes_descriptors = True`` is one.

    Whatever a peer sends, at most one descriptor is open here, and only when it was expected.
    """

    passes_descriptors: bool

    def send_descriptor(self, frame: Buffer, descriptor: int) -> bool:
        """Send a frame at once, behind all that was taken, with a descriptor of this process.

        False, and nothing was sent, where that would have to wait. The descriptor may then be closed.
        Fails like ``send_nowait``.
        """
        ...

    def expect_descriptor(self) -> None:
        """Keep the next descriptor that comes. To be called by who receives, between two ``receive()``."""
        ...

    def take_descriptor(self) -> int | None:
        """The descriptor that came with the frames received by now, for the caller to close."""
        ...


def as_passing(connection: Connection) -> DescriptorConnection | None:
    """The connection, if it can do what a :class:`DescriptorConnection` can."""
    passes = getattr(connection, "passes_descriptors", False)
    return cast("DescriptorConnection", connection) if passes else None


ConnectionHandler: TypeAlias = Callable[[Connection], Awaitable[None]]


class Listener(Protocol):
    """A bound address that accepts peers."""

    #: The address as bound, with the real port.
    address: Address

    async def serve(self, handler: ConnectionHandler, *, task_status: Any = ...) -> NoReturn:
        """Accept for ever, running ``handler(connection)`` in a task of its own for each peer.

        Calls ``task_status.started()`` once accepting. A connection is closed when its handler ends;
        one that raises ``Exception`` ends its own connection only. Running out of descriptors or
        memory backs off and goes on. When this is cancelled the handlers are cancelled with it. When
        the listener is closed meanwhile, the handlers that run are let finish, and then
        ``trio.ClosedResourceError`` is raised.
        """
        ...

    async def aclose(self) -> None:
        """Stop listening and remove what binding made (a socket file). Idempotent."""
        ...


class ConnectionServer(Protocol):
    """What serves connections that a program has accepted itself: an actor, seen by a transport."""

    @property
    def serving(self) -> bool:
        """Whether it takes connections now."""
        ...

    async def serve_connection(self, connection: Connection) -> None:
        """Serve a peer, who has proved nothing yet, until its connection is closed.

        When cancelled, it closes the connection at once. Raises ``tractor_core.errors.NoRuntime``, and closes
        the connection, where it takes none.
        """
        ...


class Transport(Protocol):
    """A way to reach actors, named by one or more URL schemes.

    One whose listeners leave something behind when their process is killed may have ``async def
    tidy(self)``, which removes it, as far as it is certain that nobody uses it any more. Supervisors call
    it when they have had to use force.

    One that protects its connections with the certificates in ``TransportOptions.tls`` has ``def
    uses_tls(self, address) -> bool``, True where it does. Only there do certificates allow an actor to
    listen where the network can reach it.
    """

    schemes: tuple[str, ...]

    def parse(self, url: str) -> Address:
        """Check a URL of one of ``schemes``; ``ValueError`` names the part that is wrong."""
        ...

    def default_bind(self) -> Address:
        """Where to listen when nothing is said: ephemeral and least exposed."""
        ...

    def default_registry(self) -> Address:
        """The well-known address of this transport's registrar."""
        ...

    def exposure(self, address: Address) -> str:
        """``"user"``, ``"host"`` or ``"network"``: who can reach a listener bound there at all."""
        ...

    def distance(self, address: Address) -> int | None:
        """Rank for look-ups, smaller is nearer; None when it cannot be reached from here."""
        ...

    async def connect(self, address: Address, options: TransportOptions) -> Connection:
        """Dial. Raises ``ConnectionRefusedError`` when nobody listens there (a missing socket file
        included), and another ``OSError`` for what else went wrong; bounded by ``connect_timeout``.

        A transport with a handshake of its own raises ``TransportClosed`` when what is there does not
        speak it or hangs up, and ``AuthenticationFailed`` when one side's transport refuses the other; the
        latter may also come from the first ``receive()``.
        """
        ...

    async def listen(self, address: Address, options: TransportOptions) -> Listener:
        """Bind. Raises ``OSError``; ``EADDRINUSE`` names the address."""
        ...
