"""Servers of many kinds, each of which hands what it accepts to an actor.

``python embedded_servers.py KIND PORT`` is a program with an actor and such a server in one process.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

import hypercorn.trio
import trio
from hypercorn.config import Config
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Mount, Route, WebSocketRoute
from trio_websocket import WebSocketRequest, serve_websocket

import tractor_core as tractor
from tractor_websocket import serve_on
from tractor_websocket.asgi import TractorASGI
from tractor_websocket.rules import PROTOCOLS

TOKEN = "token-of-the-first-client"
#: How long Hypercorn lets connections go on when it is told to stop (seconds).
GRACE = 0.2

#: Where each kind serves actors.
PATHS = {"asgi": "/actors", "mount": "/mounted/", "stream": "", "request": "", "open": ""}
#: Those that answer requests by the rules of this package; the last one does so itself.
JUDGING = ("asgi", "mount", "stream", "request")

FindActor = Callable[[], tractor.Actor]


async def page(request: Request) -> HTMLResponse:
    return HTMLResponse("<title>a page</title>")


def application(find_actor: FindActor, origins: Sequence[str] = ()) -> Starlette:
    actors = TractorASGI(find_actor, origins=origins)
    routes = [Route("/", page), WebSocketRoute("/actors", actors), Mount("/mounted", actors)]
    return Starlette(routes=routes)


@asynccontextmanager
async def hypercorn_serving(
    app: object, *, port: int = 0, certificates: tractor.TLSConfig | None = None
) -> AsyncIterator[str]:
    """Run Hypercorn on trio around a block, in this very run; yields its ``http(s)://`` URL."""
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.errorlog = None
    config.graceful_timeout = GRACE
    if certificates is not None:
        config.certfile, config.keyfile = certificates.cert, certificates.key
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        serve = partial(hypercorn.trio.serve, app, config, shutdown_trigger=stop.wait)  # type: ignore[arg-type]
        [url] = await nursery.start(serve)
        try:
            yield url
        finally:
            stop.set()


@asynccontextmanager
async def asgi_serving(find_actor: FindActor, origins: Sequence[str], port: int) -> AsyncIterator[str]:
    async with hypercorn_serving(application(find_actor, origins), port=port) as url:
        yield url.replace("http", "ws")


@asynccontextmanager
async def stream_serving(find_actor: FindActor, origins: Sequence[str], port: int) -> AsyncIterator[str]:
    async def handler(stream: trio.SocketStream) -> None:
        await serve_on(find_actor(), stream, origins=origins)

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, handler, port, host="127.0.0.1"))
        yield f"ws://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def websocket_serving(
    find_actor: FindActor, origins: Sequence[str], port: int, *, accept: bool
) -> AsyncIterator[str]:
    async def handler(request: WebSocketRequest) -> None:
        if accept:
            await serve_on(find_actor(), await request.accept(subprotocol=chosen(request)))
        else:
            await serve_on(find_actor(), request, origins=origins)

    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve_websocket, handler, "127.0.0.1", port, None))
        yield f"ws://127.0.0.1:{server.port}"
        nursery.cancel_scope.cancel()


def chosen(request: WebSocketRequest) -> str | None:
    return next((each for each in request.proposed_subprotocols if each in PROTOCOLS), None)


def serving(
    kind: str, find_actor: FindActor, *, origins: Sequence[str] = (), port: int = 0
) -> AbstractAsyncContextManager[str]:
    """Serve an actor around a block; yields the ``ws://`` URL of the server, without the path."""
    if kind in ("asgi", "mount"):
        return asgi_serving(find_actor, origins, port)
    if kind == "stream":
        return stream_serving(find_actor, origins, port)
    return websocket_serving(find_actor, origins, port, accept=kind == "open")


async def main(kind: str, port: int) -> None:
    async with tractor.open_root_actor(
        registry_addrs=["tcp://127.0.0.1:0"], enable_modules=["ws_endpoints"], auth_tokens={TOKEN: "client"}
    ):
        async with serving(kind, tractor.current_actor, port=port):
            await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, sys.argv[1], int(sys.argv[2]))
