"""``fifo:///path``: actors that talk through named pipes. Linux only.

A listener owns one well-known pipe. Whoever dials makes a pair of pipes beside it and announces them there,
in one write short enough to be whole; from then on the pair is the connection.
"""

from .endpoints import FifoTransport

#: What the entry point ``tractor_core.transports`` → ``fifo`` names.
transport = FifoTransport()

__all__ = ["FifoTransport", "transport"]
