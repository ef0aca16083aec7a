"""The seams: what a transport or a spawn backend must be, and the values that cross.

A leaf room. Plugins import this and nothing else of the package; it imports only the
standard library, trio, msgspec and :mod:`tractor_core.errors`.

A transport over byte streams finds here what the built-in ones are made of:
:class:`FrameSplitter` (sans-IO framing), :class:`SocketConnection` and :class:`SocketListener` (any
stream socket), :class:`PeerTasks` and :class:`ThrottledLog` (any listener). A spawn backend
whose processes are children of this one finds :class:`ChildProcess`, which waits for them.
"""

from .address import Address, AddressLike, parse_address
from .framing import FrameSplitter, pack_header
from .hooks import hookimpl
from .peers import PeerTasks, ThrottledLog
from .processes import ChildProcess
from .sockets import SocketConnection, SocketListener
from .spawn import ActorProcess, ExitStatus, SpawnBackend, SpawnRequest
from .transport import (
    Buffer,
    Connection,
    ConnectionHandler,
    ConnectionServer,
    DescriptorConnection,
    DirectConnection,
    Frame,
    Listener,
    PeerFacts,
    Place,
    Placer,
    TLSConfig,
    Transport,
    TransportOptions,
    as_direct,
    as_passing,
)

__all__ = [
    "ActorProcess",
    "Address",
    "AddressLike",
    "Buffer",
    "ChildProcess",
    "Connection",
    "ConnectionHandler",
    "ConnectionServer",
    "DescriptorConnection",
    "DirectConnection",
    "ExitStatus",
    "Frame",
    "FrameSplitter",
    "Listener",
    "PeerFacts",
    "PeerTasks",
    "Place",
    "Placer",
    "SocketConnection",
    "SocketListener",
    "SpawnBackend",
    "SpawnRequest",
    "TLSConfig",
    "ThrottledLog",
    "Transport",
    "TransportOptions",
    "as_direct",
    "as_passing",
    "hookimpl",
    "pack_header",
    "parse_address",
]
