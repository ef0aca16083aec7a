"""A process that has no descriptors left is told so, and goes on: libzmq by itself would end it."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from itertools import islice

import pytest
import trio
from zmq_peer import OPTIONS, echo, send_all

import tractor_zmq
from tractor_zmq.descriptors import describe, hang_up, unsent


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


@asynccontextmanager
async def descriptors_left(number: int) -> AsyncIterator[None]:
    """Allow so many more, in the gaps and at the end, while the block runs."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = {descriptor for descriptor in range(limits[0]) if is_open(descriptor)}
    # The limit is the first number that may no longer be given, so `number` free ones lie below it.
    unused = (candidate for candidate in range(limits[0]) if candidate not in used)
    resource.setrlimit(resource.RLIMIT_NOFILE, (next(islice(unused, number, None)), limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


async def test_connections_are_known_and_hung_up_on_without_descriptors() -> None:
    here, there = socket.socketpair()
    with here, there:
        number, inode = here.fileno(), os.fstat(here.fileno()).st_ino
        async with descriptors_left(0):
            with pytest.raises(OSError, match="Too many open files"):
                os.dup(number)
            wire = describe(number)
            assert wire is not None and wire.inode == inode and wire.pid == os.getpid()
            assert unsent(number, inode) == 0
            assert unsent(number, inode + 1) is None
            hang_up(number, inode + 1)
            there.send(b"still there")
            assert here.recv(100) == b"still there"
            hang_up(number, inode)
            assert there.recv(100) == b""
            assert os.fstat(number).st_ino == inode, "it was closed"
        assert describe(max(number, there.fileno()) + 1000) is None


async def test_dialling_and_listening_without_descriptors_is_an_oserror() -> None:
    """However many are left, from none to enough."""
    transport = tractor_zmq.transport
    outcomes = []
    # In this process nothing of libzmq is running yet when the first of these begins.
    for left in range(40):
        async with descriptors_left(left):
            for attempt in (
                lambda: transport.listen(transport.default_bind(), OPTIONS),
                lambda: transport.connect(transport.parse("zmq+tcp://127.0.0.1:9"), OPTIONS),
            ):
                try:
                    opened = await attempt()
                except OSError as error:
                    outcomes.append(error.strerror)
                else:
                    outcomes.append("opened")
                    await opened.aclose()
    assert "Too many open files" in outcomes[0]
    assert "opened" in outcomes


async def test_a_listener_that_was_out_of_descriptors_is_well_afterwards() -> None:
    listener = await tractor_zmq.transport.listen(tractor_zmq.transport.default_bind(), OPTIONS)
    async with aclosing(listener), trio.open_nursery() as nursery:
        await nursery.start(listener.serve, echo)
        async with descriptors_left(1):
            for _ in range(3):
                try:
                    connection = await tractor_zmq.transport.connect(listener.address, OPTIONS)
                except OSError:
                    continue
                await connection.aclose()
        connection = await tractor_zmq.transport.connect(listener.address, OPTIONS)
        await send_all(connection, [b"still there"])
        assert [bytes(frame) for frame in await connection.receive()] == [b"still there"]
        await connection.aclose()
        nursery.cancel_scope.cancel()
