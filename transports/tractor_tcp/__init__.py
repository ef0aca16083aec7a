"""``tcp://host:port`` and ``tls://host:port``: length-prefixed frames over TCP, plain or encrypted.

``?advertise=host:port`` names the address that others should be told, where it differs from the
one that is bound (behind a port mapping). TCP authenticates and encrypts nothing by itself; TLS does both,
with certificates at both ends.
"""

from .endpoints import TcpTransport
from .tls_endpoints import TlsTransport

#: What the entry points ``tractor_core.transports`` → ``tcp`` and ``tls`` name.
transport = TcpTransport()
tls_transport = TlsTransport()

__all__ = ["TcpTransport", "TlsTransport", "tls_transport", "transport"]
