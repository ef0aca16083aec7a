"""What raw sockets can do to a listener: garbage, half-open and cut connections, floods."""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

import tractor_tcp
import tractor_uds
from tractor_core.errors import FrameTooLarge, TransportClosed
from tractor_core.seams import (
    Address,
    Connection,
    PeerTasks,
    SocketConnection,
    SocketListener,
    Transport,
    TransportOptions,
    pack_header,
)

BOTH = pytest.mark.parametrize(
    "transport", [tractor_tcp.transport, tractor_uds.transport], ids=["tcp", "uds"]
)


class Outcomes:
    """Runs receive() on each accepted connection until it ends, and keeps how."""

    def __init__(self) -> None:
        self.send, self.receive = trio.open_memory_channel[Any](100)

    async def handler(self, connection: Connection) -> None:
        frames: list[bytes] = []
        try:
            while batch := await connection.receive():
                frames += map(bytes, batch)
            await self.send.send((frames, None))
        except TransportClosed as exc:
            await self.send.send((frames, exc))

    async def next(self) -> tuple[list[bytes], TransportClosed | None]:
        outcome: tuple[list[bytes], TransportClosed | None] = await self.receive.receive()
        return outcome


@contextlib.asynccontextmanager
async def listening(transport: Transport) -> AsyncIterator[tuple[Address, Outcomes]]:
    outcomes = Outcomes()
    listener = await transport.listen(transport.default_bind(), TransportOptions())
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(listener.serve, outcomes.handler)
            yield listener.address, outcomes
            nursery.cancel_scope.cancel()
    finally:
        await listener.aclose()


async def raw(address: Address) -> trio.SocketStream:
    if address.scheme == "tcp":
        assert address.port is not None
        return await trio.open_tcp_stream(address.host, address.port)
    return await trio.open_unix_socket(address.path)


@BOTH
@pytest.mark.parametrize(
    ("data", "frames", "error"),
    [
        (b"", [], None),
        (pack_header(2) + b"hi", [b"hi"], None),
        (b"\x02", [], TransportClosed),
        (pack_header(5) + b"hell", [], TransportClosed),
        (pack_header(2) + b"hi" + pack_header(60_000) + b"x" * 59_999, [b"hi"], TransportClosed),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", [], FrameTooLarge),
        (b"\xff" * 1000, [], FrameTooLarge),
        (pack_header(64 * 1024 + 1), [], FrameTooLarge),
        (pack_header(2) + b"hi" + b"\xff" * 1000, [b"hi"], FrameTooLarge),
    ],
)
async def test_bytes_then_end(
    transport: Transport, data: bytes, frames: list[bytes], error: type[TransportClosed] | None
) -> None:
    async with listening(transport) as (address, outcomes):
        stream = await raw(address)
        with contextlib.suppress(trio.BrokenResourceError):
            await stream.send_all(data)
        await stream.send_eof()
        got, exc = await outcomes.next()
        await stream.aclose()
        assert got == frames
        assert type(exc) is (error or type(None))
        await _still_serves(transport, address, outcomes)


@BOTH
async def test_one_byte_at_a_time(transport: Transport) -> None:
    async with listening(transport) as (address, outcomes):
        async with await raw(address) as stream:
            for byte in pack_header(3) + b"abc" + pack_header(0):
                await stream.send_all(bytes([byte]))
                await trio.lowlevel.checkpoint()
        assert await outcomes.next() == ([b"abc", b""], None)


async def test_a_reset_is_transport_closed_with_its_cause() -> None:
    async with listening(tractor_tcp.transport) as (address, outcomes):
        stream = await raw(address)
        await stream.send_all(pack_header(100) + b"half")
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await trio.testing.wait_all_tasks_blocked(0.02)
        stream.socket.close()
        frames, exc = await outcomes.next()
        assert frames == []
        assert isinstance(exc, TransportClosed)
        assert isinstance(exc.src_exc, ConnectionResetError)


@BOTH
async def test_half_open_peer_still_gets_answers(transport: Transport) -> None:
    async def handler(connection: Connection) -> None:
        received = list(await connection.receive())
        assert list(await connection.receive()) == []
        connection.send_nowait(received)
        await connection.aclose()

    listener = await transport.listen(transport.default_bind(), TransportOptions())
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve, handler)
        async with await raw(listener.address) as stream:
            await stream.send_all(pack_header(4) + b"ping")
            await stream.send_eof()
            answer = b"".join([part async for part in stream])
        assert answer == pack_header(4) + b"ping"
        nursery.cancel_scope.cancel()
    await listener.aclose()


@BOTH
async def test_closing_with_unread_bytes_still_delivers_the_goodbye(transport: Transport) -> None:
    async def handler(connection: Connection) -> None:
        await connection.receive()
        await knocked.wait()
        connection.send_nowait([b"refused"])
        await connection.aclose()

    knocked = trio.Event()
    listener = await transport.listen(transport.default_bind(), TransportOptions())
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve, handler)
        connection = await transport.connect(listener.address, TransportOptions())
        connection.send_nowait([b"hello"])
        await trio.testing.wait_all_tasks_blocked(0.01)
        connection.send_nowait([b"more"] * 100)
        knocked.set()
        assert [bytes(frame) for frame in await connection.receive()] == [b"refused"]
        assert list(await connection.receive()) == []
        await connection.aclose()
        nursery.cancel_scope.cancel()
    await listener.aclose()


async def _still_serves(transport: Transport, address: Address, outcomes: Outcomes) -> None:
    connection = await transport.connect(address, TransportOptions())
    connection.send_nowait([b"still", b"there"])
    await connection.aclose()
    assert await outcomes.next() == ([b"still", b"there"], None)


class FlakySocket(socket.socket):
    """A listening socket whose accept() fails as told before it works."""

    failures: list[int]

    def accept(self) -> tuple[socket.socket, Any]:
        if self.failures:
            number = self.failures.pop(0)
            raise OSError(number, errno.errorcode[number])
        return super().accept()


@pytest.mark.parametrize(
    "number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.ECONNABORTED]
)
async def test_accept_failures_back_off_and_go_on(number: int, caplog: pytest.LogCaptureFixture) -> None:
    sock = FlakySocket(socket.AF_INET, socket.SOCK_STREAM)
    sock.failures = [number, number]
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    address = Address("tcp", "127.0.0.1", sock.getsockname()[1])

    def accepted(peer: socket.socket, name: Any) -> SocketConnection:
        return SocketConnection(peer, address, Address("tcp", *name), max_frame=100)

    outcomes = Outcomes()
    listener = SocketListener(sock, address, TransportOptions(), accepted)
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve, outcomes.handler)
        await _still_serves(tractor_tcp.transport, address, outcomes)
        nursery.cancel_scope.cancel()
    await listener.aclose()
    assert sock.failures == []
    # One line for the two failures within a second; none where only a peer went away.
    assert len(caplog.records) == (0 if number == errno.ECONNABORTED else 1)


async def test_a_peer_that_leaves_while_it_is_accepted_harms_nobody() -> None:
    calls = 0

    def accepted(peer: socket.socket, name: Any) -> SocketConnection:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise OSError(errno.ENOTCONN, "gone")
        return SocketConnection(peer, address, Address("tcp", *name), max_frame=100)

    sock = socket.create_server(("127.0.0.1", 0))
    address = Address("tcp", "127.0.0.1", sock.getsockname()[1])
    listener = SocketListener(sock, address, TransportOptions(), accepted)
    outcomes = Outcomes()
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve, outcomes.handler)
        first = await tractor_tcp.transport.connect(address, TransportOptions())
        assert list(await first.receive()) == []
        await first.aclose()
        await _still_serves(tractor_tcp.transport, address, outcomes)
        nursery.cancel_scope.cancel()
    await listener.aclose()


async def test_two_tasks_in_receive_is_busy() -> None:
    ours, theirs = socket.socketpair()
    connection = SocketConnection(ours, Address("uds"), Address("uds"), max_frame=10)
    with theirs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.receive)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await connection.receive()
            theirs.sendall(pack_header(0))
    await connection.aclose()


async def test_repeated_lines_are_held_back(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(connection: Connection) -> None:
        raise TransportClosed("knocked and ran")

    async with trio.open_nursery() as nursery:
        peers = PeerTasks(nursery, handler, 1000)
        for _ in range(2):
            for _ in range(50):
                ours, theirs = socket.socketpair()
                theirs.close()
                peers.admit(SocketConnection(ours, Address("uds"), Address("uds"), max_frame=10))
            await trio.sleep(2)
    assert len(peers) == 0
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2
    assert "(and 49 more like it before)" in messages[1]
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
