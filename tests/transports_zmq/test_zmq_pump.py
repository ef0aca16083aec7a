"""Several tasks share one pair of sockets: whoever waits first drives, and hands over when it leaves."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

import tractor_zmq
from tractor_core.seams import Address, Connection, PeerFacts, TransportOptions
from tractor_core.testing import connected_pair
from tractor_zmq.connection import ZmqConnection
from tractor_zmq.options import CREDIT_STEP, DATA, END, TOKEN_SIZE


async def clog(connection: Connection) -> int:
    sent = 0
    while not connection.pending:
        sent += connection.send_nowait([bytes(30_000)])
    return sent


async def drain(connection: Connection, count: int) -> None:
    while count:
        count -= len(await connection.receive())


@pytest.mark.parametrize("swap", [False, True], ids=["dialler", "listener"])
async def test_who_follows_takes_over_when_the_driver_is_cancelled(swap: bool) -> None:
    async with connected_pair(tractor_zmq.transport)(TransportOptions()) as pair:
        a, b = reversed(pair) if swap else pair
        b.max_frame = 100_000
        sent = await clog(a)
        async with trio.open_nursery() as nursery:
            driver = trio.CancelScope()

            async def receive() -> None:
                with driver:
                    await a.receive()

            nursery.start_soon(receive)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(a.flush)
            await trio.testing.wait_all_tasks_blocked()
            driver.cancel()
            await trio.testing.wait_all_tasks_blocked()
            await drain(b, sent)
        assert driver.cancelled_caught and not a.pending


@pytest.mark.parametrize("swap", [False, True], ids=["dialler", "listener"])
async def test_receiving_goes_on_while_the_flusher_comes_and_goes(swap: bool) -> None:
    async with connected_pair(tractor_zmq.transport)(TransportOptions()) as pair:
        a, b = reversed(pair) if swap else pair
        b.max_frame = 100_000
        sent = await clog(a)
        for number in range(20):
            with trio.move_on_after(0.001):
                await a.flush()
            async with trio.open_nursery() as nursery:
                scope = trio.CancelScope()

                async def flush(scope: trio.CancelScope = scope) -> None:
                    with scope:
                        await a.flush()

                nursery.start_soon(flush)
                await trio.testing.wait_all_tasks_blocked()
                b.send_nowait([b"%d" % number])
                assert [bytes(frame) for frame in await a.receive()] == [b"%d" % number]
                scope.cancel()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(a.flush)
            await drain(b, sent)


@pytest.mark.limit(120)
async def test_sending_does_not_lose_what_arrives_meanwhile() -> None:
    """Each send may use up the one signal that a message has come."""
    async with connected_pair(tractor_zmq.transport)(TransportOptions()) as (a, b):
        rounds = 3000

        async def play(connection: Connection, serve: bool) -> None:
            seen = 0
            if serve:
                connection.send_nowait([b"0"])
            while seen < rounds:
                for frame in await connection.receive():
                    seen = max(seen, int(bytes(frame)) + 1)
                    connection.send_nowait([b"%d" % seen])
                connection.send_nowait([b"0"] if seen % 7 == 0 and seen < rounds else [])
                if connection.pending:
                    await connection.flush()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, a, True)
            nursery.start_soon(play, b, False)


@pytest.mark.parametrize("swap", [False, True], ids=["dialler", "listener"])
async def test_nobody_waits_on_after_the_peer_has_left(swap: bool) -> None:
    async with connected_pair(tractor_zmq.transport)(TransportOptions()) as pair:
        a, b = reversed(pair) if swap else pair
        await clog(a)
        async with trio.open_nursery() as nursery:
            ends: list[object] = []

            async def receive() -> None:
                ends.append(list(await a.receive()))

            async def flush() -> None:
                with pytest.raises(trio.BrokenResourceError):
                    await a.flush()
                ends.append("flush")

            nursery.start_soon(receive)
            nursery.start_soon(flush)
            await trio.testing.wait_all_tasks_blocked()
            await b.aclose()
        assert sorted(map(str, ends)) == ["[]", "flush"]


class SharedSocket:
    """The link of a connection that finds its peer's goodbye when it catches up, before others' messages."""

    pump: Any
    connection: ZmqConnection

    def __init__(self) -> None:
        self.pump = self
        self.unread = False

    def wake(self, seat: object) -> None:
        pass

    def transmit(self, message: bytes) -> None:
        self.unread = True

    def check(self) -> None:
        self.unread = False

    def catch_up(self) -> None:
        self.connection.deliver(END + bytes(TOKEN_SIZE))
        self.unread = True

    def leave(self, *, at_once: bool) -> None:
        pass


async def test_what_lies_behind_a_goodbye_is_looked_for() -> None:
    link, here = SharedSocket(), Address("zmq", "127.0.0.1", 1)
    connection = ZmqConnection(link, bytes(TOKEN_SIZE), here, here, PeerFacts(), CREDIT_STEP)
    link.connection = connection
    connection.deliver(DATA + bytes(TOKEN_SIZE) + bytes(CREDIT_STEP))
    assert len(await connection.receive()) == 1
    assert not link.unread
    assert await connection.receive() == ()
