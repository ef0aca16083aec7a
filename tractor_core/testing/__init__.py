"""The public test kit: the ``mem://`` transport and conformance checks for plugins.

Nothing here needs pytest. Spawn backends are checked by
:mod:`tractor_core.testing.check_spawn_backend`.
"""

from .check_listener import check_listener
from .check_transport import check_transport, connected_pair
from .mem import MemConnection, MemNetwork, MemTransport

__all__ = [
    "MemConnection",
    "MemNetwork",
    "MemTransport",
    "check_listener",
    "check_transport",
    "connected_pair",
]
