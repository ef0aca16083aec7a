"""Sockets of other libraries, peers that do not read, and servers that do not let go."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
import trio.lowlevel
import trio.testing
import ws_endpoints
from embedded_servers import PATHS, serving
from other_roots import other_root
from trio.testing import MockClock
from trio_websocket import WebSocketRequest as Request
from trio_websocket import serve_websocket, wrap_client_stream

import tractor_core as tractor
from tractor_websocket import JSON_PROTOCOL, SocketEnded, serve_messages, serve_on
from tractor_websocket.asgi_socket import AsgiSocket, Event


class ChannelSocket:
    """A WebSocket library of a few lines: two trio memory channels."""

    def __init__(
        self, send: trio.MemorySendChannel[bytes], receive: trio.MemoryReceiveChannel[bytes]
    ) -> None:
        self._send, self._receive = send, receive

    async def send(self, frame: bytes) -> None:
        try:
            await self._send.send(frame)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise SocketEnded(1006) from None

    async def receive(self) -> bytes:
        try:
            return await self._receive.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            raise SocketEnded(1000) from None

    async def close(self) -> None:
        self._send.close()


@pytest.mark.parametrize("codec", ["msgpack", "json"])
async def test_any_library_will_do(codec: str) -> None:
    """Between a real client and the actor stands a program that copies messages."""
    async with other_root(registry_addrs=["mem://any"], enable_modules=["ws_endpoints"]) as other:

        async def handler(request: Request) -> None:
            websocket = await request.accept(subprotocol=request.proposed_subprotocols[0])
            to_actor, from_peer = trio.open_memory_channel[bytes](4)
            to_peer, from_actor = trio.open_memory_channel[bytes](4)

            async def inwards() -> None:
                with to_actor:
                    while True:
                        message = await websocket.get_message()
                        await to_actor.send(message.encode() if isinstance(message, str) else message)

            async def outwards() -> None:
                async for frame in from_actor:
                    await websocket.send_message(frame.decode() if codec == "json" else frame)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(inwards)
                nursery.start_soon(outwards)
                assert await serve_messages(other.actor, ChannelSocket(to_peer, from_peer), codec=codec)
                nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            server = await nursery.start(partial(serve_websocket, handler, "127.0.0.1", 0, None))
            async with tractor.open_portal(f"ws://127.0.0.1:{server.port}?codec={codec}") as portal:
                assert await portal.run(ws_endpoints.add, 1, 2) == 3
                async with portal.open_stream_from(ws_endpoints.count, n=500) as stream:
                    assert [value async for value in stream] == list(range(500))
                await other.close()
            nursery.cancel_scope.cancel()


async def test_an_unknown_codec_or_subprotocol_is_the_programs_mistake() -> None:
    async with other_root(registry_addrs=["mem://any"]) as other:
        send, receive = trio.open_memory_channel[bytes](0)
        with send, receive, pytest.raises(ValueError, match="codec 'xml' is not one of msgpack, json"):
            await serve_messages(other.actor, ChannelSocket(send, receive), codec="xml")
        faults: list[str] = []

        async def handler(request: Request) -> None:
            with pytest.raises(ValueError) as caught:
                await serve_on(other.actor, await request.accept())
            faults.append(str(caught.value))

        async with trio.open_nursery() as nursery:
            server = await nursery.start(partial(serve_websocket, handler, "127.0.0.1", 0, None))
            async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
                async with trio.open_nursery() as client:
                    await wrap_client_stream(client, stream, "here", "/")
            nursery.cancel_scope.cancel()
        assert len(faults) == 1 and JSON_PROTOCOL in faults[0]


@pytest.mark.parametrize("kind", sorted(PATHS))
async def test_an_actor_does_not_wait_for_a_peer_that_does_not_read(kind: str) -> None:
    """Hypercorn shields what it writes, so that its own end may take as long as such a peer likes."""
    async with other_root(registry_addrs=["mem://deaf"], enable_modules=["ws_endpoints"]) as other:
        async with serving(kind, lambda: other.actor) as url, deaf_peer(url + PATHS[kind], other.actor):
            began = trio.current_time()
            with trio.fail_after(5):
                await other.close()
            assert trio.current_time() - began < 3


@asynccontextmanager
async def deaf_peer(url: str, actor: tractor.Actor) -> AsyncIterator[None]:
    """An actor at the other end of a proxy that stops passing on what it is sent, until the block ends."""
    host, port = url.split("/")[2].split(":")
    deaf, flooded = trio.Event(), trio.Event()

    async def copy(source: trio.SocketStream, target: trio.SocketStream, *, mute: bool) -> None:
        async for data in source:
            if mute and deaf.is_set():
                flooded.set()
                await trio.sleep_forever()
            await target.send_all(data)

    async def proxy(near: trio.SocketStream) -> None:
        async with await trio.open_tcp_stream(host, int(port)) as far, trio.open_nursery() as nursery:
            nursery.start_soon(partial(copy, near, far, mute=False))
            nursery.start_soon(partial(copy, far, near, mute=True))

    async def flood(address: str) -> None:
        with pytest.raises((tractor.TransportClosed, tractor.RemoteActorError)):
            async with tractor.open_portal(address) as portal:
                async with trio.open_nursery() as calls:
                    for _ in range(8):
                        calls.start_soon(portal.run, ws_endpoints.blob, 4_000_000)
                    await trio.lowlevel.checkpoint()
                    deaf.set()

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, proxy, 0, host="127.0.0.1"))
        path = url.partition(f":{port}")[2]
        nursery.start_soon(flood, f"ws://127.0.0.1:{listener.socket.getsockname()[1]}{path}")
        await flooded.wait()
        await trio.testing.wait_all_tasks_blocked(0.2)
        yield
        nursery.cancel_scope.cancel()


class Server:
    """An ASGI server's end: what it is sent, and what it says when."""

    def __init__(self) -> None:
        self.sent: list[Event] = []
        self.says, self._events = trio.open_memory_channel[Event](10)
        self.clogged = False

    async def receive(self) -> Event:
        return await self._events.receive()

    async def send(self, event: Event) -> None:
        with trio.CancelScope(shield=True):
            while self.clogged:
                await trio.sleep(1)
        self.sent.append(event)


@asynccontextmanager
async def asgi_socket(*, text: bool = False) -> AsyncIterator[tuple[AsgiSocket, Server]]:
    server = Server()
    socket = AsgiSocket(server.receive, server.send, text=text)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(socket.pump)
        yield socket, server
        nursery.cancel_scope.cancel()


async def test_a_send_that_the_server_shields_can_be_left(autojump_clock: MockClock) -> None:
    async with asgi_socket() as (socket, server):
        server.clogged = True
        with trio.move_on_after(1) as scope:
            await socket.send(b"one")
        assert scope.cancelled_caught
        began = trio.current_time()
        await socket.leave(1001, "")
        assert trio.current_time() - began == pytest.approx(0.5)
        server.clogged = False
    assert [event["type"] for event in server.sent] == ["websocket.send"]


async def test_a_goodbye_is_said_once_and_waited_for(autojump_clock: MockClock) -> None:
    async with asgi_socket(text=True) as (socket, server):
        await server.says.send({"type": "websocket.receive", "text": "late", "bytes": None})
        await server.says.send({"type": "websocket.disconnect", "code": 1000})
        began = trio.current_time()
        await socket.close()
        await socket.leave(1001, "")
        assert trio.current_time() == began
        assert server.sent == [{"type": "websocket.close", "code": 1000, "reason": ""}]
        for use in (socket.receive, partial(socket.send, b"x")):
            with pytest.raises(SocketEnded, match="1000"):
                await use()


async def test_an_end_says_how(autojump_clock: MockClock) -> None:
    async with asgi_socket() as (socket, server):
        await server.says.send({"type": "websocket.receive", "bytes": b"frame"})
        await server.says.send({"type": "websocket.disconnect", "code": 1012, "reason": "restart"})
        assert await socket.receive() == b"frame"
        with pytest.raises(SocketEnded, match="1012 restart"):
            await socket.receive()
        await socket.leave(1001, "")
        assert not server.sent
