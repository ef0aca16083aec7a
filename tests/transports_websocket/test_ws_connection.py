"""The connection over a WebSocket library, in moments that a real peer hardly ever hits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from tractor_core.errors import TransportClosed
from tractor_core.seams import Address, PeerFacts
from tractor_websocket.asgi_socket import AsgiSocket, Event
from tractor_websocket.connection import MessageSocket, WebSocketConnection


class OneAtATime:
    """A library that has taken a message when it is told so."""

    def __init__(self) -> None:
        self.taken = trio.Event()

    async def send(self, frame: bytes) -> None:
        await self.taken.wait()

    async def receive(self) -> bytes:
        await trio.sleep_forever()
        raise AssertionError("unreachable")

    async def close(self) -> None:
        pass


@asynccontextmanager
async def connection_over(socket: MessageSocket) -> AsyncIterator[WebSocketConnection]:
    async def open_socket(nursery: trio.Nursery) -> tuple[MessageSocket, PeerFacts]:
        return socket, PeerFacts()

    connection = WebSocketConnection(Address("ws"), Address("ws"), open_socket, lambda: None, max_frame=1000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.live)
        assert await connection.opened()
        yield connection
        connection.abort()


async def test_aborted_as_the_library_takes_a_message() -> None:
    socket = OneAtATime()
    async with connection_over(socket) as connection:
        connection.send_nowait([b"x"])
        await trio.testing.wait_all_tasks_blocked()
        socket.taken.set()
        connection.abort()
        await connection._finished.wait()
        assert connection._end is not None and connection._end.fault is None


async def test_what_may_not_come_is_not_forgotten_when_the_receiver_is_cancelled(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The peer, which reads nothing, is being told so at that moment."""

    async def send(event: Event) -> None:
        await trio.sleep_forever()

    events, receive = trio.open_memory_channel[Event](2)
    events.send_nowait({"type": "websocket.receive", "text": "text, where messagepack was agreed"})
    events.send_nowait({"type": "websocket.receive", "bytes": b"behind it"})
    socket = AsgiSocket(receive.receive, send, text=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(socket.pump)
        async with connection_over(socket) as connection:
            with trio.move_on_after(0.1):
                with pytest.raises(TransportClosed):
                    await connection.receive()
            with pytest.raises(TransportClosed):
                await connection.receive()
        nursery.cancel_scope.cancel()
