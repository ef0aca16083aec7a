"""``ws://host:port/path`` and ``wss://…``: one WebSocket message for each frame, for actors and browsers.

Needs the package trio-websocket (``pip install 'tractor-core[websocket]'``). Parameters of an address:

- ``?origins=https://a.example,http://localhost:3000``, where it is bound: web pages that may connect. A
  browser says which page it acts for; without this no page is let in. ``*`` lets all in, programs that
  are no browsers (and say nothing) always are;
- ``?advertise=host:port/path``: what others are told, where it differs from what is bound;
- ``?codec=json``, where it is dialled: speak JSON, as browsers do.
"""

from .connection import MessageSocket, SocketEnded, WebSocketConnection
from .endpoints import WebSocketTransport
from .library import JSON_PROTOCOL, MSGPACK_PROTOCOL

#: What the entry points ``ws`` and ``wss`` of ``tractor_core.transports`` name.
transport = WebSocketTransport("ws")
secure_transport = WebSocketTransport("wss")

__all__ = [
    "JSON_PROTOCOL",
    "MSGPACK_PROTOCOL",
    "MessageSocket",
    "SocketEnded",
    "WebSocketConnection",
    "WebSocketTransport",
    "secure_transport",
    "transport",
]
