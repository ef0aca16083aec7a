"""Descriptors over unix sockets: one passes when it is expected, all others never come to be open here."""

from __future__ import annotations

import array
import contextlib
import os
import socket
from collections.abc import Iterator

import pytest
import trio

from tractor_core.errors import TransportClosed
from tractor_core.seams import Address, Buffer, Place, as_passing, pack_header
from tractor_uds.descriptors import UdsConnection

HERE = Address("uds", path="/tmp/none")
MIB = 1024 * 1024


@contextlib.contextmanager
def connected() -> Iterator[tuple[UdsConnection, socket.socket]]:
    """A connection, and the socket of a peer that can do with it what it likes."""
    near, far = socket.socketpair()
    connection = UdsConnection(near, HERE, HERE, max_frame=2 * MIB)
    try:
        with far:
            yield connection, far
    finally:
        connection.abort()


@contextlib.contextmanager
def no_more_open() -> Iterator[None]:
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) == before


def framed(data: bytes) -> bytes:
    return pack_header(len(data)) + data


def send(sock: socket.socket, data: bytes, descriptors: list[int]) -> None:
    sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))])


async def received(connection: UdsConnection) -> list[bytes]:
    return [bytes(frame) for frame in await connection.receive()]


async def test_one_that_is_expected_comes_with_its_frame() -> None:
    with no_more_open(), connected() as (connection, far):
        peer = UdsConnection(far.dup(), HERE, HERE, max_frame=MIB)
        assert as_passing(connection) is connection
        read, write = os.pipe()
        assert peer.send_nowait([b"before"]) == 1
        connection.expect_descriptor()
        assert peer.send_descriptor(b"here it is", write)
        os.close(write)
        assert peer.send_nowait([b"behind"]) == 1
        frames: list[bytes] = []
        while len(frames) < 3:
            frames += await received(connection)
        assert frames == [b"before", b"here it is", b"behind"]
        descriptor = connection.take_descriptor()
        assert descriptor is not None
        assert not os.get_inheritable(descriptor)
        assert connection.take_descriptor() is None
        os.write(descriptor, b"through the pipe")
        assert os.read(read, 100) == b"through the pipe"
        os.close(descriptor)
        os.close(read)
        peer.abort()


async def test_what_nobody_expects_is_never_open_here() -> None:
    """Neither before the handshake nor later: the kernel drops it."""
    with no_more_open(), connected() as (connection, far):
        for _ in range(50):
            send(far, framed(b"x"), [0, 1, 2] * 80)
            assert await received(connection) == [b"x"]
            assert connection.take_descriptor() is None
        # In a large frame, whose rest is read to its place.
        connection.placer = lambda frame, length: None
        send(far, framed(b"y" * 150_000)[:10_000], [0])
        far.setblocking(False)
        data, frames = memoryview(framed(b"y" * 150_000))[10_000:], []
        while not frames:
            with contextlib.suppress(BlockingIOError):
                sent = far.sendmsg(
                    [data[:10_000]], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1]))]
                )
                data = data[sent:]
            with trio.move_on_after(0.01):
                frames = await received(connection)
        assert len(frames[0]) == 150_000


async def test_after_the_expected_one_no_more_are_taken() -> None:
    with no_more_open(), connected() as (connection, far):
        connection.expect_descriptor()
        for _ in range(20):
            send(far, framed(b"x"), [0])
            assert await received(connection) == [b"x"]
        descriptor = connection.take_descriptor()
        assert descriptor is not None
        os.close(descriptor)
        assert connection.take_descriptor() is None


@pytest.mark.parametrize("count", [2, 3, 100, 253])
async def test_several_at_once_end_the_connection(count: int) -> None:
    with no_more_open(), connected() as (connection, far):
        connection.expect_descriptor()
        send(far, framed(b"x"), [0] * count)
        with pytest.raises(TransportClosed, match="more than the one descriptor"):
            await connection.receive()


async def test_one_that_is_not_taken_is_closed_with_the_connection() -> None:
    with no_more_open(), connected() as (connection, far):
        connection.expect_descriptor()
        send(far, framed(b"x"), [0])
        await connection.receive()


async def test_it_may_come_in_the_middle_of_a_large_frame() -> None:
    """Whichever way the connection reads then."""
    for placer in (None, place_all):
        with no_more_open(), connected() as (connection, far):
            connection.placer = placer
            data = framed(b"z" * 600_000)
            far.settimeout(20)
            async with trio.open_nursery() as nursery:

                def work(far: socket.socket = far, data: bytes = data) -> None:
                    far.sendall(data[:300_000])
                    send(far, data[300_000:300_001], [0])
                    far.sendall(data[300_001:])

                connection.expect_descriptor()
                nursery.start_soon(trio.to_thread.run_sync, work)
                frames = await received(connection)
            assert frames == [b"z" * 600_000]
            descriptor = connection.take_descriptor()
            assert descriptor is not None
            os.close(descriptor)


def place_all(frame: memoryview, length: int) -> Place:
    memory = bytearray(length)

    def finish() -> Buffer:
        return memory

    return Place(0, memoryview(memory), finish)


async def test_while_the_path_is_full_nothing_is_sent() -> None:
    with no_more_open(), connected() as (connection, far):
        read, write = os.pipe()
        while not connection.pending:
            connection.send_nowait([b"f" * 100_000])
        assert not connection.send_descriptor(b"here", write)
        count = 0
        peer = UdsConnection(far.dup(), HERE, HERE, max_frame=MIB)
        peer.expect_descriptor()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.flush)
            while b"here" not in (frames := await received(peer)):
                count += len(frames)
                if not connection.pending:
                    connection.send_descriptor(b"here", write)
        descriptor = peer.take_descriptor()
        assert descriptor is not None
        for number in (descriptor, read, write):
            os.close(number)
        peer.abort()


async def test_closed_and_broken_are_told_as_always() -> None:
    with connected() as (connection, far):
        far.close()
        with pytest.raises(TransportClosed, match="broke"):
            connection.send_descriptor(b"x", 0)
        connection.abort()
        with pytest.raises(trio.ClosedResourceError):
            connection.send_descriptor(b"x", 0)
