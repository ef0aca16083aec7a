"""The other process of the bare echo: ``python -m benchmarks.bare_server SCHEME DIRECTORY``.

Prints the address it listens at, as JSON, and serves until it is ended.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from functools import partial
from typing import Any, Protocol

import msgspec
import trio
import zmq
from trio_websocket import WebSocketRequest, serve_websocket

from tractor_core.seams.tls import demand_tls, load_tls, server_context

from .frames import Frames
from .messages import LARGEST, WebSocketMessages, receive_parts

#: No answer, which None would be.
_SILENT = object()


class Messages(Protocol):
    async def send(self, value: Any) -> None: ...
    async def receive(self) -> Any: ...
    async def aclose(self) -> None: ...


class Conversation:
    """Answers ``["echo", value]`` with the value, and the last of n values after ``["count", n]`` with n."""

    def __init__(self) -> None:
        self._count = self._left = 0

    def answer(self, message: Any) -> Any:
        if self._left:
            self._left -= 1
            return _SILENT if self._left else self._count
        kind, value = message
        if kind == "echo":
            return value
        self._count = self._left = value
        return _SILENT


async def serve_one(messages: Messages) -> None:
    conversation = Conversation()
    while (message := await messages.receive()) is not None:
        answer = conversation.answer(message)
        if answer is not _SILENT:
            await messages.send(answer)
    await messages.aclose()


def tell(scheme: str, *where: object) -> None:
    print(json.dumps([scheme, *where]), flush=True)


async def serve_streams(scheme: str, directory: str) -> None:
    """``tcp``, ``uds`` and ``tls``."""
    if scheme == "uds":
        path = f"{directory}/bare.sock"
        sock = trio.socket.socket(trio.socket.AF_UNIX)
        await sock.bind(path)
        sock.listen(64)
        listeners = [trio.SocketListener(sock)]
        tell(scheme, path)
    else:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        tell(scheme, listeners[0].socket.getsockname()[1])
    context = server_context(demand_tls(load_tls(None), scheme)) if scheme == "tls" else None

    async def serve_stream(stream: trio.SocketStream) -> None:
        try:
            await serve_one(
                Frames(stream if context is None else trio.SSLStream(stream, context, server_side=True))
            )
        except trio.BrokenResourceError:
            pass  # TLS was not told goodbye

    await trio.serve_listeners(serve_stream, listeners)


async def serve_websockets(scheme: str, directory: str) -> None:
    """``ws`` and ``wss``."""
    context = None
    if scheme == "wss":
        context = server_context(demand_tls(load_tls(None), scheme), client_certificates=False)

    async def serve_request(request: WebSocketRequest) -> None:
        await serve_one(WebSocketMessages(await request.accept()))

    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            partial(serve_websocket, serve_request, "127.0.0.1", 0, context, max_message_size=LARGEST)
        )
        tell(scheme, server.port)


async def serve_zmq(scheme: str, directory: str) -> None:
    """``zmq+tcp`` and ``zmq+ipc``: one ROUTER for all."""
    sock: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.ROUTER)
    sock.curve_server = True
    public, sock.curve_secretkey = zmq.curve_keypair()
    sock.bind("tcp://127.0.0.1:*" if scheme == "zmq+tcp" else f"ipc://{directory}/bare.zmq.sock")
    tell(scheme, sock.last_endpoint.decode(), public.decode())
    conversations: defaultdict[bytes, Conversation] = defaultdict(Conversation)
    encode, decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder().decode
    while True:
        identity, message = await receive_parts(sock)
        answer = conversations[identity].answer(decode(message))
        if answer is not _SILENT:
            sock.send_multipart([identity, encode(answer)], zmq.NOBLOCK)


SERVE = {
    **dict.fromkeys(("tcp", "uds", "tls"), serve_streams),
    **dict.fromkeys(("ws", "wss"), serve_websockets),
    **dict.fromkeys(("zmq+tcp", "zmq+ipc"), serve_zmq),
}

if __name__ == "__main__":
    trio.run(SERVE[sys.argv[1]], sys.argv[1], sys.argv[2])
