"""``ws://host:port/path`` and ``wss://…``: one WebSocket message for each frame, for actors and browsers.

Needs the package trio-websocket (``pip install 'tractor-core[websocket]'``). Parameters of an address:

- ``?origins=https://a.example,http://localhost:3000``, where it is bound: web pages that may connect. A
  browser says which page it acts for; without this no page is let in. ``*`` lets all in, programs that
  are no browsers (and say nothing) always are;
- ``?advertise=host:port/path``: what others are told, where it differs from what is bound;
- ``?codec=json``, where it is dialled: speak JSON, as browsers do.

Web pages use the client that :func:`browser_module` finds. Programs with a server of their own hand what it
accepted to an actor: :func:`serve_on`, :func:`serve_messages`, :class:`tractor_websocket.asgi.TractorASGI`.
"""

from .browser import browser_module
from .connection import MAX_FRAME, MessageSocket, SocketEnded, WebSocketConnection
from .embedding import serve_messages, serve_on
from .endpoints import WebSocketTransport
from .rules import JSON_PROTOCOL, MSGPACK_PROTOCOL

#: What the entry points ``ws`` and ``wss`` of ``tractor_core.transports`` name.
transport = WebSocketTransport("ws")
secure_transport = WebSocketTransport("wss")

__all__ = [
    "JSON_PROTOCOL",
    "MAX_FRAME",
    "MSGPACK_PROTOCOL",
    "MessageSocket",
    "SocketEnded",
    "WebSocketConnection",
    "WebSocketTransport",
    "browser_module",
    "secure_transport",
    "serve_messages",
    "serve_on",
    "transport",
]
