"""Length-prefixed msgpack over a trio stream: all that the bare echo needs."""

from __future__ import annotations

from struct import Struct
from typing import Any

import msgspec
import trio

_HEADER = Struct("<I")
_READ_SIZE = 64 * 1024
#: Payloads from this size on are neither joined with their header nor read in pieces (bytes).
_LARGE = 64 * 1024


class Frames:
    """Values both ways over one stream of bytes. ``receive()`` returns None at its end."""

    def __init__(self, stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]) -> None:
        self._stream = stream
        self._socket = stream.socket if isinstance(stream, trio.SocketStream) else None
        self._buffer = bytearray()
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder().decode

    async def send(self, value: Any) -> None:
        payload = self._encode(value)
        header = _HEADER.pack(len(payload))
        if len(payload) < _LARGE:
            await self._stream.send_all(header + payload)
        else:
            await self._stream.send_all(header)
            await self._stream.send_all(payload)

    async def receive(self) -> Any:
        header = await self._take(_HEADER.size)
        if header is None:
            return None
        length = _HEADER.unpack(header)[0]
        if self._socket is not None and length >= _LARGE:
            body: bytes | bytearray | None = await self._take_large(self._socket, length)
        else:
            body = await self._take(length)
        return None if body is None else self._decode(body)

    async def _take(self, count: int) -> bytes | None:
        buffer = self._buffer
        while len(buffer) < count:
            data = await self._stream.receive_some(_READ_SIZE)
            if not data:
                return None
            buffer += data
        taken = bytes(memoryview(buffer)[:count])
        del buffer[:count]
        return taken

    async def _take_large(self, sock: trio.socket.SocketType, count: int) -> bytearray | None:
        """Read into a buffer of the exact size, so that nothing is copied twice."""
        body = bytearray(count)
        filled = min(count, len(self._buffer))
        body[:filled] = self._buffer[:filled]
        del self._buffer[:filled]
        with memoryview(body) as view:
            while filled < count:
                read = await sock.recv_into(view[filled:])
                if not read:
                    return None
                filled += read
        return body

    async def aclose(self) -> None:
        # A TLS stream would wait for a goodbye that nobody sends.
        await trio.aclose_forcefully(self._stream)
