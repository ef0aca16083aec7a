"""The raw trio RPC: as little as a multiplexed RPC on trio can be, for a floor that does the same work.

One reader task takes everything the socket has and dispatches synchronously; a call is a task at the
server and a parked task at the client, rescheduled directly by the reader; frames are sent at once,
without blocking, and queued for one flusher only when the kernel is full. No types, errors, cancellation,
credit or liveness. ``python -m benchmarks.raw_trio SCHEME DIRECTORY`` is its other process.
"""

from __future__ import annotations

import json
import socket
import sys
from collections import deque
from collections.abc import Callable
from struct import Struct
from typing import Any

import msgspec
import trio
from outcome import Value

CALL, ANSWER, OPEN, VALUE, END = range(5)
_HEADER = Struct("<I")
_READ_SIZE = 64 * 1024
#: Queued bytes from which on a stream waits for the kernel, and values after which it yields.
_HIGH_WATER, _SLICE = 256 * 1024, 64


class RawChannel:
    """Arrays of kind, number and value, both ways over a connected socket."""

    def __init__(self, sock: socket.socket, dispatch: Callable[[int, int, Any], None]) -> None:
        sock.setblocking(False)
        if sock.family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._dispatch = dispatch
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder().decode
        self._queued = bytearray()
        self._to_flush = trio.lowlevel.ParkingLot()
        self._drained = trio.lowlevel.ParkingLot()

    def post(self, kind: int, number: int, value: Any) -> None:
        """Send at once what the kernel takes, and queue the rest."""
        payload = self._encode((kind, number, value))
        frame = _HEADER.pack(len(payload)) + payload
        if not self._queued:
            try:
                sent = self._sock.send(frame)
            except BlockingIOError:
                sent = 0
            if sent == len(frame):
                return
            frame = frame[sent:]
        self._queued += frame
        self._to_flush.unpark()

    async def has_room(self) -> None:
        """Wait until not too much is queued."""
        while len(self._queued) > _HIGH_WATER:
            await self._drained.park()

    async def flush(self) -> None:
        """What could not be sent at once; for a task of its own."""
        while True:
            while not self._queued:
                await self._to_flush.park()
            await trio.lowlevel.wait_writable(self._sock)
            del self._queued[: self._sock.send(self._queued)]
            self._drained.unpark_all()

    async def read(self) -> None:
        """Dispatch until the peer is gone; for a task of its own."""
        buffer = bytearray()
        while True:
            await trio.lowlevel.wait_readable(self._sock)
            data = self._sock.recv(_READ_SIZE)
            if not data:
                return
            buffer += data
            self._dispatch_frames(buffer)

    def _dispatch_frames(self, buffer: bytearray) -> None:
        at, size = 0, _HEADER.size
        while len(buffer) >= at + size:
            end = at + size + _HEADER.unpack_from(buffer, at)[0]
            if len(buffer) < end:
                break
            self._dispatch(*self._decode(bytes(buffer[at + size : end])))
            at = end
        del buffer[:at]


class RawClient:
    """Calls and one-way streams over one channel."""

    def __init__(self, sock: socket.socket) -> None:
        self._waiting: dict[int, trio.lowlevel.Task] = {}
        self._number = 0
        self.channel = RawChannel(sock, self._on_message)

    async def call(self, x: int, y: int) -> Any:
        """The sum, computed there."""
        return await self._ask(CALL, self._next(), (x, y))

    async def one_way(self, count: int, value: bytes) -> int:
        """Send ``value`` so often; returns how many have arrived."""
        number = self._next()
        self.channel.post(OPEN, number, None)
        for sent in range(count):
            self.channel.post(VALUE, number, value)
            await self.channel.has_room()
            if sent % _SLICE == 0:
                await trio.lowlevel.checkpoint()
        return int(await self._ask(END, number, None))

    def _next(self) -> int:
        self._number += 1
        return self._number

    async def _ask(self, kind: int, number: int, value: Any) -> Any:
        self._waiting[number] = trio.lowlevel.current_task()
        self.channel.post(kind, number, value)
        return await trio.lowlevel.wait_task_rescheduled(self._abandon)

    def _abandon(self, _: Callable[[], BaseException]) -> trio.lowlevel.Abort:
        return trio.lowlevel.Abort.SUCCEEDED

    def _on_message(self, kind: int, number: int, value: Any) -> None:
        trio.lowlevel.reschedule(self._waiting.pop(number), Value(value))


class RawServer:
    """A task for each call, and one for each stream that takes its values."""

    def __init__(self, sock: socket.socket, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._streams: dict[int, deque[Any]] = {}
        self._parked = trio.lowlevel.ParkingLot()
        self.channel = RawChannel(sock, self._on_message)

    def _on_message(self, kind: int, number: int, value: Any) -> None:
        if kind == CALL:
            self._nursery.start_soon(self._answer, number, *value)
        elif kind == OPEN:
            self._streams[number] = deque()
            self._nursery.start_soon(self._sink, number)
        else:
            self._streams[number].append(None if kind == END else value)
            self._parked.unpark_all()

    async def _answer(self, number: int, x: int, y: int) -> None:
        self.channel.post(ANSWER, number, x + y)

    async def _sink(self, number: int) -> None:
        values, count = self._streams[number], 0
        while True:
            while not values:
                await self._parked.park()
            if values.popleft() is None:
                break
            count += 1
        del self._streams[number]
        self.channel.post(ANSWER, number, count)


async def serve(scheme: str, directory: str) -> None:
    """Tell where, take one connection, and serve it until it ends."""
    if scheme == "uds":
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"{directory}/raw.sock")
        address: Any = f"{directory}/raw.sock"
    else:
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        address = listener.getsockname()
    listener.listen()
    print(json.dumps(address), flush=True)
    sock, _ = listener.accept()
    async with trio.open_nursery() as nursery:
        server = RawServer(sock, nursery)
        nursery.start_soon(server.channel.flush)
        await server.channel.read()
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(serve, sys.argv[1], sys.argv[2])
