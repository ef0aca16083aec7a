"""The seams: what a transport or a spawn backend must be, and the values that cross.

A leaf room. Plugins import this and nothing else of the package; it imports only the
standard library and :mod:`tractor_core.errors`.
"""

from .address import Address, AddressLike, parse_address
from .hooks import hookimpl
from .spawn import ActorProcess, ExitStatus, SpawnBackend, SpawnRequest
from .transport import (
    Buffer,
    Connection,
    Listener,
    PeerFacts,
    TLSConfig,
    Transport,
    TransportOptions,
)

__all__ = [
    "ActorProcess",
    "Address",
    "AddressLike",
    "Buffer",
    "Connection",
    "ExitStatus",
    "Listener",
    "PeerFacts",
    "SpawnBackend",
    "SpawnRequest",
    "TLSConfig",
    "Transport",
    "TransportOptions",
    "hookimpl",
    "parse_address",
]
