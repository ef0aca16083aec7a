"""Msgpack messages over libraries that keep messages apart themselves: trio-websocket and pyzmq."""

from __future__ import annotations

from typing import Any

import msgspec
import trio
import zmq
from trio_websocket import ConnectionClosed, WebSocketConnection

#: The largest message (bytes): a little more than the largest row's.
LARGEST = 2 * 1024 * 1024

_POLLIN = int(zmq.POLLIN)


class WebSocketMessages:
    """Values both ways over one WebSocket. ``receive()`` returns None at its end."""

    def __init__(self, socket: WebSocketConnection) -> None:
        self._socket = socket
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder().decode

    async def send(self, value: Any) -> None:
        await self._socket.send_message(self._encode(value))

    async def receive(self) -> Any:
        try:
            return self._decode(await self._socket.get_message())
        except ConnectionClosed:
            return None

    async def aclose(self) -> None:
        await self._socket.aclose()


async def receive_parts(sock: zmq.Socket[bytes]) -> list[bytes]:
    """The next message of a ZeroMQ socket, waited for as trio waits."""
    while True:
        try:
            return sock.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            # Its descriptor only tells that something has changed since it was last looked at.
            if not int(sock.get(zmq.EVENTS)) & _POLLIN:
                await trio.lowlevel.wait_readable(sock.get(zmq.FD))


class DealerMessages:
    """Values both ways over one DEALER; the other end is a ROUTER. CURVE, as ours always has it."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str, server_key: bytes) -> None:
        self._socket = context.socket(zmq.DEALER)
        public, secret = zmq.curve_keypair()
        self._socket.curve_publickey, self._socket.curve_secretkey = public, secret
        self._socket.curve_serverkey = server_key
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.connect(endpoint)
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder().decode

    async def send(self, value: Any) -> None:
        message = self._encode(value)
        while True:
            try:
                self._socket.send(message, zmq.NOBLOCK)
            except zmq.Again:
                # The queue is full: libzmq's own thread empties it.
                await trio.sleep(0.0005)
            else:
                await trio.lowlevel.checkpoint()
                return

    async def receive(self) -> Any:
        [message] = await receive_parts(self._socket)
        return self._decode(message)

    async def aclose(self) -> None:
        self._socket.close()
