"""Pages, programs and bytes that have no business here: each is refused, and nothing else disturbed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pytest
import trio
import ws_endpoints
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream

import tractor_core as tractor
import tractor_websocket
from tractor_core.errors import TransportClosed
from tractor_core.seams import Connection, TransportOptions
from tractor_core.trionics import collapse_eg
from tractor_websocket.connection import MAX_FRAME

BOTH = ["tractor-core.json.v1", "tractor-core.msgpack.v1"]


@asynccontextmanager
async def actor(bind: str = "ws://127.0.0.1:0", **options: Any) -> AsyncIterator[tuple[str, int]]:
    """A root that must serve a bystander as before when the block is over; where it listens."""
    async with tractor.open_root_actor(
        registry_addrs=[bind], enable_modules=["ws_endpoints"], **options
    ) as root:
        address = root.accept_addrs[0]
        url = address.url.partition("?")[0]
        async with tractor.open_portal(url) as bystander:
            assert await bystander.run(ws_endpoints.add, 1, 2) == 3
            assert address.port is not None
            yield url, address.port
            assert await bystander.run(ws_endpoints.add, 3, 4) == 7
            [channels] = [list(peers) for peers in root.peers.values()]
            assert len(channels) == 2  # both ends of the bystander's, and no more


@asynccontextmanager
async def opened(
    url: str, protocols: list[str], headers: list[tuple[bytes, bytes]] | None = None
) -> AsyncIterator[WebSocketConnection]:
    parts = urlsplit(url)
    assert parts.hostname and parts.port
    async with await trio.open_tcp_stream(parts.hostname, parts.port) as stream, collapse_eg():
        async with trio.open_nursery() as nursery:
            target = parts.path + (f"?{parts.query}" if parts.query else "")
            yield await wrap_client_stream(
                nursery, stream, parts.netloc, target or "/", subprotocols=protocols, extra_headers=headers
            )
            nursery.cancel_scope.cancel()


async def upgrade(url: str, *, origin: str | None = None, protocols: list[str] = BOTH) -> str | None:
    """Open a WebSocket as a browser would; the subprotocol."""
    async with opened(url, protocols, [] if origin is None else [(b"Origin", origin.encode())]) as socket:
        return socket.subprotocol


async def refusal(url: str, **how: Any) -> tuple[int, str]:
    with pytest.raises(ConnectionRejected) as caught:
        await upgrade(url, **how)
    return caught.value.status_code, (caught.value.body or b"").decode()


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://app.example:444", "garbage"])
async def test_a_page_from_elsewhere_is_refused(origin: str, caplog: pytest.LogCaptureFixture) -> None:
    async with actor("ws://127.0.0.1:0?origins=https://app.example,http://localhost:3000") as (url, _):
        status, body = await refusal(url, origin=origin)
        assert status == 403 and origin in body
        while "may not connect here" not in caplog.text:
            await trio.sleep(0.01)
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1


@pytest.mark.parametrize(
    "origin", [None, "https://app.example", "HTTPS://APP.example", "http://localhost:3000"]
)
async def test_listed_pages_and_programs_get_in(origin: str | None) -> None:
    async with actor("ws://127.0.0.1:0?origins=https://app.example,http://localhost:3000") as (url, _):
        assert await upgrade(url, origin=origin) == BOTH[0]


async def test_no_page_gets_in_unless_one_is_listed() -> None:
    async with actor() as (url, port):
        # Not even one that calls itself by this listener's address: a name can be pointed at any host.
        assert (await refusal(url, origin=f"http://127.0.0.1:{port}"))[0] == 403
    async with actor("ws://127.0.0.1:0?origins=*") as (url, _):
        assert await upgrade(url, origin="http://anybody.example") == BOTH[0]


async def test_the_transport_tells_where_a_page_comes_from() -> None:
    seen: list[Connection] = []

    async def handler(connection: Connection) -> None:
        seen.append(connection)
        await connection.receive()

    transport = tractor_websocket.transport
    options = TransportOptions(extra={"origins": ["https://app.example"]})
    listener = await transport.listen(transport.default_bind(), options)
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve, handler)
        await upgrade(listener.address.url, origin="https://app.example")
        await upgrade(listener.address.url, protocols=BOTH[1:])
        await listener.aclose()
        nursery.cancel_scope.cancel()
    assert [(each.facts.origin, each.facts.codec) for each in seen] == [
        ("https://app.example", "json"),
        (None, "msgpack"),
    ]


async def test_the_path_counts() -> None:
    async with actor("ws://127.0.0.1:0/actors") as (url, port):
        assert url.endswith("/actors")
        assert await upgrade(url) == BOTH[0]
        assert await upgrade(f"{url}?session=1") == BOTH[0]
        assert (await refusal(f"ws://127.0.0.1:{port}/"))[0] == 404


async def test_a_subprotocol_is_needed() -> None:
    async with actor() as (url, _):
        for protocols in ([], ["chat"]):
            status, body = await refusal(url, protocols=protocols)
            assert status == 400 and "tractor-core.json.v1" in body


async def answer_to(port: int, data: bytes) -> bytes:
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        await stream.send_all(data)
        received = b""
        with trio.fail_after(5):
            try:
                async for part in stream:
                    received += part
            except trio.BrokenResourceError:
                pass
        return received


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: here\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: here\r\nContent-Length: 3\r\n\r\nabc",
        b"GET / HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"\x16\x03\x01\r\n\r\n",
        b"x" * 100_000,
    ],
    ids=["get", "post", "no-key", "tls", "long"],
)
async def test_what_is_no_websocket_is_told_so(data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with actor() as (_, port):
        answer = await answer_to(port, data)
        assert answer.startswith(b"HTTP/1.1 4"), answer
        while "no WebSocket client" not in caplog.text:
            await trio.sleep(0.01)
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1


async def test_who_says_nothing_does_not_stay(caplog: pytest.LogCaptureFixture) -> None:
    async with actor(limits=tractor.Limits(handshake_timeout=0.3)) as (_, port):
        assert (await answer_to(port, b"GET / HT")).startswith(b"HTTP/1.1 408")
        assert (await answer_to(port, b"")).startswith(b"HTTP/1.1 408")
        while "no WebSocket request came in time" not in caplog.text:
            await trio.sleep(0.01)


async def test_who_leaves_at_once_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    async with actor() as (_, port):
        for _ in range(5):
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            await stream.aclose()
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    ("protocol", "message", "code"),
    [
        (BOTH[0], b"binary", 1003),
        (BOTH[1], "text", 1003),
        (BOTH[0], "no json", 1000),
        (BOTH[0], '["deep"' + "[" * 5000, 1000),
        (BOTH[1], b"\xc1", 1000),
        (BOTH[1], bytes(MAX_FRAME + 1), 1009),
        (BOTH[0], "x" * 70_000, 1000),
    ],
)
async def test_messages_that_make_no_sense(protocol: str, message: str | bytes, code: int) -> None:
    async with actor() as (url, _):
        async with opened(url, [protocol]) as socket:
            await socket.send_message(message)
            with pytest.raises(ConnectionClosed) as caught:
                with trio.fail_after(5):
                    await socket.get_message()
            assert caught.value.reason is not None
            assert caught.value.reason.code in (code, 1006)


async def test_a_dialler_is_told_why_it_was_refused() -> None:
    async with actor("ws://127.0.0.1:0/actors") as (_, port):
        with pytest.raises(TransportClosed, match="refused the WebSocket: HTTP 404"):
            async with tractor.open_portal(f"ws://127.0.0.1:{port}/elsewhere"):
                pytest.fail("it is in")


async def test_a_server_that_speaks_something_else() -> None:
    answers = [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"]

    async def hang_up(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(answers.pop())
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, hang_up, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        for _ in range(len(answers)):
            with pytest.raises(TransportClosed):
                async with tractor.open_portal(f"ws://127.0.0.1:{port}"):
                    pytest.fail("it is in")
        nursery.cancel_scope.cancel()


async def test_a_server_that_does_not_answer() -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listeners[0] as listener:
        port = listener.socket.getsockname()[1]
        address = tractor_websocket.transport.parse(f"ws://127.0.0.1:{port}")
        with pytest.raises(TimeoutError, match=f"no answer from ws://127.0.0.1:{port} within 0.2 s"):
            await tractor_websocket.transport.connect(address, TransportOptions(connect_timeout=0.2))


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("ws://", "no host"),
        ("tcp://127.0.0.1:1", "is not ws"),
        ("ws://127.0.0.1:1?nonsense=1", "unknown parameter 'nonsense'"),
        ("ws://127.0.0.1:1?codec=xml", "codec: 'xml' is not one of"),
        ("ws://127.0.0.1:1?origins=app.example", "is no origin"),
        ("ws://127.0.0.1:1?origins=http://a/b", "is no origin"),
        ("ws://127.0.0.1:1?advertise=host", "is not 'host:port'"),
        ("ws://127.0.0.1:1/a b", "%-escaped"),
    ],
)
def test_addresses_that_make_no_sense(url: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        tractor_websocket.transport.parse(url)


def test_addresses() -> None:
    parse = tractor_websocket.transport.parse
    assert parse("ws://127.0.0.1:1618/").url == "ws://127.0.0.1:1618"
    assert parse("ws://example.com/actors").url == "ws://example.com:80/actors"
    assert tractor_websocket.secure_transport.parse("wss://example.com").port == 443
    assert tractor_websocket.transport.default_registry().url == "ws://127.0.0.1:1618"
    assert tractor_websocket.secure_transport.default_registry().url == "wss://127.0.0.1:1619"


async def test_a_listener_has_no_codec_of_its_own() -> None:
    address = tractor_websocket.transport.parse("ws://127.0.0.1:0?codec=json")
    with pytest.raises(ValueError, match="codec"):
        await tractor_websocket.transport.listen(address, TransportOptions())
