"""Dialling the bare server, with the library that our transport of that scheme uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import trio
import zmq
from trio_websocket import connect_websocket

from tractor_core.seams.tls import client_context, demand_tls, load_tls

from .frames import Frames
from .messages import LARGEST, DealerMessages, WebSocketMessages

HOST = "127.0.0.1"

Connection = Frames | WebSocketMessages | DealerMessages


async def connect(nursery: trio.Nursery, address: Sequence[Any]) -> Connection:
    """Connect to what the bare server printed: a scheme, and where it listens.

    A library that needs a task of its own has it in ``nursery``.
    """
    scheme, *where = address
    if scheme.startswith("zmq"):
        endpoint, key = where
        return DealerMessages(zmq.Context.instance(), endpoint, key.encode())
    context = client_context(demand_tls(load_tls(None), scheme)) if scheme in ("tls", "wss") else None
    if scheme in ("ws", "wss"):
        use_ssl = context or False
        return WebSocketMessages(
            await connect_websocket(nursery, HOST, where[0], "/", use_ssl=use_ssl, max_message_size=LARGEST)
        )
    if scheme == "uds":
        return Frames(await trio.open_unix_socket(where[0]))
    stream = await trio.open_tcp_stream(HOST, where[0])
    return Frames(stream if context is None else trio.SSLStream(stream, context, server_hostname=HOST))
