"""Which requests an embedded actor takes, by page, path, subprotocol and size; what else its port serves."""

from __future__ import annotations

import asyncio
import http.client
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import hypercorn.asyncio
import pytest
import trio
import trustme
import ws_endpoints
from embedded_servers import JUDGING, PATHS, application, hypercorn_serving, serving
from hypercorn.config import Config
from hypercorn.utils import LifespanFailureError
from other_roots import other_root
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream

import tractor_core as tractor
from tractor_core.errors import TransportClosed
from tractor_core.trionics import collapse_eg
from tractor_websocket import JSON_PROTOCOL, MAX_FRAME, MSGPACK_PROTOCOL, serve_on
from tractor_websocket.asgi import TractorASGI
from tractor_websocket.rules import own_origin

BOTH = [JSON_PROTOCOL, MSGPACK_PROTOCOL]
LISTED = "https://app.example"


@asynccontextmanager
async def served(kind: str, **options: Any) -> AsyncIterator[str]:
    """A root that must serve a bystander as before when the block is over; its URL."""
    async with other_root(
        registry_addrs=["mem://rules"], enable_modules=["ws_endpoints"], **options
    ) as other:
        async with serving(kind, lambda: other.actor, origins=[LISTED]) as url:
            async with tractor.open_portal(url + PATHS[kind]) as bystander:
                yield url + PATHS[kind]
                assert await bystander.run(ws_endpoints.add, 3, 4) == 7


@asynccontextmanager
async def opened(
    url: str, protocols: list[str] = BOTH, *, origin: str | None = None, host: str | None = None
) -> AsyncIterator[WebSocketConnection]:
    parts = urlsplit(url)
    assert parts.hostname and parts.port
    headers = [] if origin is None else [(b"Origin", origin.encode())]
    async with await trio.open_tcp_stream(parts.hostname, parts.port) as stream, collapse_eg():
        async with trio.open_nursery() as nursery:
            yield await wrap_client_stream(
                nursery,
                stream,
                host or parts.netloc,
                parts.path or "/",
                subprotocols=protocols,
                extra_headers=headers,
            )
            nursery.cancel_scope.cancel()


async def answer(url: str, protocols: list[str] = BOTH, **how: Any) -> tuple[int, str]:
    """The status and the body, or the subprotocol."""
    try:
        async with opened(url, protocols, **how) as socket:
            return 101, socket.subprotocol or ""
    except ConnectionRejected as rejected:
        return rejected.status_code, (rejected.body or b"").decode()


@pytest.mark.parametrize("kind", JUDGING)
async def test_pages_from_elsewhere_are_refused(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    async with served(kind) as url:
        port = urlsplit(url).port
        for origin in ("http://evil.example", "null", "https://app.example:444", f"http://127.0.0.1:{port}0"):
            status, body = await answer(url, origin=origin)
            assert status == 403 and "may not connect here" in body
        # A name that its owner points at this server is no proof of anything.
        host = f"evil.example:{port}"
        assert (await answer(url, origin=f"http://{host}", host=host))[0] == 403
        assert await answer(url, origin=LISTED) == (101, JSON_PROTOCOL)
        assert await answer(url) == (101, JSON_PROTOCOL)
    refusals = [each.getMessage() for each in caplog.records if "may not connect here" in each.getMessage()]
    assert 1 <= len(refusals) <= 5  # one line for each second
    assert "refused peer ws://127.0.0.1:" in refusals[0]


@pytest.mark.parametrize("kind", ["asgi", "mount"])
async def test_the_pages_of_the_same_server_are_let_in(kind: str) -> None:
    async with served(kind) as url:
        port = urlsplit(url).port
        for host in (f"127.0.0.1:{port}", f"localhost:{port}"):
            assert await answer(url, origin=f"http://{host}", host=host) == (101, JSON_PROTOCOL)
        assert (await answer(url, origin=f"https://127.0.0.1:{port}"))[0] == 403


async def test_a_server_without_pages_has_none_of_its_own() -> None:
    async with served("request") as url:
        assert (await answer(url, origin=url.replace("ws:", "http:")))[0] == 403


@pytest.mark.parametrize(
    ("secure", "host", "origin"),
    [
        (False, "127.0.0.1:8000", "http://127.0.0.1:8000"),
        (True, "LOCALHOST", "https://localhost"),
        (True, "[::1]:8443", "https://[::1]:8443"),
        (False, "app.example", None),
        (False, "127.0.0.1.evil.example", None),
        (False, "", None),
        (False, "[", None),
    ],
)
def test_whose_own_a_page_is(secure: bool, host: str, origin: str | None) -> None:
    assert own_origin(secure, host) == origin


@pytest.mark.parametrize("kind", JUDGING)
async def test_a_subprotocol_is_needed(kind: str) -> None:
    async with served(kind) as url:
        for protocols in ([], ["chat"]):
            status, body = await answer(url, protocols)
            assert status == 400 and JSON_PROTOCOL in body
        assert await answer(url, ["chat", MSGPACK_PROTOCOL, JSON_PROTOCOL]) == (101, MSGPACK_PROTOCOL)


@pytest.mark.parametrize("kind", sorted(PATHS))
@pytest.mark.parametrize(
    ("protocol", "message", "codes"),
    [
        (MSGPACK_PROTOCOL, bytes(MAX_FRAME + 1), {1009}),
        (JSON_PROTOCOL, "x" * (MAX_FRAME + 1), {1009}),
        (JSON_PROTOCOL, "é" * (MAX_FRAME // 2 + 1), {1009}),
        (JSON_PROTOCOL, b"binary", {1003}),
        (MSGPACK_PROTOCOL, "text", {1003}),
        (JSON_PROTOCOL, "no json", {1000, 1001, 1006}),  # or it hangs up, as a listener does
    ],
    ids=["binary", "ascii", "accents", "kind", "other-kind", "garbage"],
)
async def test_messages_that_make_no_sense(
    kind: str, protocol: str, message: str | bytes, codes: set[int]
) -> None:
    """Whatever the server itself would take, which by default is 1 MiB and more."""
    async with served(kind) as url, opened(url, [protocol]) as socket:
        await socket.send_message(message)
        with pytest.raises(ConnectionClosed) as caught, trio.fail_after(5):
            await socket.get_message()
    assert caught.value.reason is not None
    assert caught.value.reason.code in codes


def fetched(port: int | None, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


async def test_pages_and_actors_share_a_port() -> None:
    async with served("mount") as url:
        port = urlsplit(url).port
        get = partial(trio.to_thread.run_sync, fetched, port)
        assert await get("/") == (200, "<title>a page</title>")
        status, body = await get("/mounted/")
        assert status == 426 and MSGPACK_PROTOCOL in body
        assert (await get("/elsewhere"))[0] == 404
        assert await answer(f"ws://127.0.0.1:{port}/actors") == (101, JSON_PROTOCOL)
        # Starlette's own answer to what it has no route for.
        assert (await answer(f"ws://127.0.0.1:{port}/elsewhere"))[0] == 403


async def test_the_path_counts_where_one_is_given() -> None:
    async with other_root(registry_addrs=["mem://path"], enable_modules=["ws_endpoints"]) as other:
        async with hypercorn_serving(TractorASGI(other.actor, path="/actors")) as http_url:
            url = http_url.replace("http", "ws")
            get = partial(trio.to_thread.run_sync, fetched, urlsplit(url).port)
            assert (await answer(f"{url}/actors"))[0] == 101
            assert (await answer(f"{url}/elsewhere")) == (404, "there is nothing at '/elsewhere'\n")
            assert [(await get("/actors"))[0], (await get("/elsewhere"))[0]] == [426, 404]
            with pytest.raises(TransportClosed, match="HTTP 404 .there is nothing"):
                async with tractor.open_portal(f"{url}/elsewhere"):
                    pytest.fail("it is in")


async def test_the_actor_may_come_later_than_the_application() -> None:
    async with hypercorn_serving(application(tractor.current_actor)) as http_url:
        url = http_url.replace("http", "ws") + "/actors"
        for _ in range(2):
            status, body = await answer(url)
            assert status == 503 and "does not run" in body
            async with other_root(registry_addrs=["mem://later"], enable_modules=["ws_endpoints"]):
                async with tractor.open_portal(url) as portal:
                    assert await portal.run(ws_endpoints.add, 1, 2) == 3


async def test_the_application_may_run_the_actor() -> None:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with tractor.open_root_actor(registry_addrs=["mem://life"], enable_modules=["ws_endpoints"]):
            yield

    routes = [WebSocketRoute("/actors", TractorASGI(tractor.current_actor))]
    async with hypercorn_serving(Starlette(routes=routes, lifespan=lifespan)) as http_url:
        async with tractor.open_portal(http_url.replace("http", "ws") + "/actors") as portal:
            assert await portal.run(ws_endpoints.add, 1, 2) == 3
            async with portal.open_stream_from(ws_endpoints.count, n=3) as stream:
                assert [value async for value in stream] == [0, 1, 2]


@pytest.fixture
def tls(tmp_path: Path) -> tractor.TLSConfig:
    """Of an authority of the test's own, good for this host."""
    authority = trustme.CA()
    files = {name: tmp_path / f"{name}.pem" for name in ("cert", "key", "ca")}
    leaf = authority.issue_cert("127.0.0.1")
    leaf.cert_chain_pems[0].write_to_path(files["cert"])
    leaf.private_key_pem.write_to_path(files["key"])
    authority.cert_pem.write_to_path(files["ca"])
    return tractor.TLSConfig(*(str(path) for path in files.values()))


async def check_secure(url: str, actor: tractor.Actor, tls: tractor.TLSConfig) -> None:
    async with tractor.open_portal(url, tls=tls) as portal:
        assert await portal.run(ws_endpoints.add, 1, 2) == 3
        [[channel]] = actor.peers.values()
        assert channel.raddr.scheme == "wss" and channel.raddr.host == "127.0.0.1"
        assert channel.peer.facts.encrypted


async def test_over_tls(tls: tractor.TLSConfig) -> None:
    async with other_root(registry_addrs=["mem://tls"], enable_modules=["ws_endpoints"]) as other:
        async with hypercorn_serving(application(lambda: other.actor), certificates=tls) as url:
            await check_secure(url.replace("https", "wss") + "/actors", other.actor, tls)


async def test_over_tls_streams(tls: tractor.TLSConfig, caplog: pytest.LogCaptureFixture) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tls.cert, tls.key)
    async with other_root(registry_addrs=["mem://tls"], enable_modules=["ws_endpoints"]) as other:

        async def handler(stream: trio.SSLStream[trio.SocketStream]) -> None:
            await serve_on(other.actor, stream)

        async with trio.open_nursery() as nursery:
            serve = partial(trio.serve_ssl_over_tcp, handler, 0, context, host="127.0.0.1")
            [listener] = await nursery.start(serve)
            port = listener.transport_listener.socket.getsockname()[1]
            with pytest.raises(TransportClosed):
                async with tractor.open_portal(f"ws://127.0.0.1:{port}"):
                    pytest.fail("it is in")
            await check_secure(f"wss://127.0.0.1:{port}", other.actor, tls)
            nursery.cancel_scope.cancel()
    assert "refused peer wss://127.0.0.1:" in caplog.text and "no WebSocket client" in caplog.text


async def test_a_server_that_can_only_close_says_why_there() -> None:
    async with other_root(registry_addrs=["mem://poor"]) as other:
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "websocket.connect"}

        async def send(event: Any) -> None:
            sent.append(event)

        scope = {
            "type": "websocket", "scheme": "ws", "path": "/", "headers": [(b"origin", b"http://evil.example")],
            "subprotocols": BOTH, "client": None,
        }  # fmt: skip
        await TractorASGI(other.actor)(scope, receive, send)
    [event] = sent
    assert (event["type"], event["code"]) == ("websocket.close", 1008)
    assert "may not connect here" in event["reason"] and len(event["reason"].encode()) <= 123


def on_asyncio(app: Any) -> None:
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.errorlog = None
    asyncio.run(hypercorn.asyncio.serve(app, config))


def test_a_server_on_another_loop_is_told_so() -> None:
    with pytest.raises(LifespanFailureError, match="needs a server that runs on trio"):
        on_asyncio(TractorASGI(tractor.current_actor))

    async def request(kind: str) -> None:
        with pytest.raises(RuntimeError, match="needs a server that runs on trio"):
            await TractorASGI(tractor.current_actor)({"type": kind}, None, None)  # type: ignore[arg-type]

    for kind in ("websocket", "http"):
        asyncio.run(request(kind))
