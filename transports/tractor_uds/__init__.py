"""``uds:///path/to.sock`` and, on Linux, ``uds:@abstract``: frames over unix sockets.

Socket files are 0600; the kernel names the peer's process and user, and a peer of another user is
refused.
"""

from .endpoints import UdsTransport

#: What the entry point ``tractor_core.transports`` → ``uds`` names.
transport = UdsTransport()

__all__ = ["UdsTransport", "transport"]
