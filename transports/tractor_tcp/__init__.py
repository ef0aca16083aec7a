"""``tcp://host:port``: length-prefixed frames over TCP.

``?advertise=host:port`` names the address that others should be told, where it differs from the
one that is bound (behind a port mapping). TCP authenticates and encrypts nothing by itself.
"""

from .endpoints import TcpTransport

#: What the entry point ``tractor_core.transports`` → ``tcp`` names.
transport = TcpTransport()

__all__ = ["TcpTransport", "transport"]
