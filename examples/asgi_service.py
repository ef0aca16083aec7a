"""A web application and an actor in one process, behind one port: a guest book.

    python asgi_service.py PORT     serves until interrupted; prints what visitors need
    python asgi_service.py          serves and lets two visitors in, each a process of its own

``/`` is a page of a Starlette application; at ``/actors`` programs, browsers and other actors reach the
actor itself. Needs hypercorn[trio] and starlette.
"""

from __future__ import annotations

import secrets
import sys
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial

import hypercorn.trio
import trio
from hypercorn.config import Config
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute

import tractor_core as tractor
from tractor_websocket.asgi import TractorASGI

guests: list[str] = []


@tractor.expose(clients=True)
async def sign(name: str) -> int:
    """Enter a name into the book; how many there are now."""
    guests.append(name)
    return len(guests)


@tractor.expose(clients=True)
async def read() -> AsyncIterator[str]:
    for name in guests:
        yield name


async def page(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"{len(guests)} guests: {', '.join(guests)}")


def application() -> Starlette:
    # The actor need not run yet: it is looked up for each request.
    actors = TractorASGI(tractor.current_actor)
    return Starlette(routes=[Route("/", page), WebSocketRoute("/actors", actors)])


async def serve(port: int, then: Callable[[str, str], Awaitable[None]]) -> None:
    """Run actor and server; with both up, call ``then`` with the server's URL and a client's token."""
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.errorlog = None
    stop = trio.Event()
    token = secrets.token_urlsafe()
    async with tractor.open_root_actor(enable_modules=[__name__], auth_tokens={token: "guest"}):
        async with trio.open_nursery() as nursery:
            run = partial(hypercorn.trio.serve, application(), config, shutdown_trigger=stop.wait)
            [url] = await nursery.start(run)
            await then(url, token)
            stop.set()


async def visit(url: str, token: str, who: str) -> list[str]:
    """What a visitor in another process sees: the actor by its address, and the page."""
    said = []
    async with tractor.open_portal(url.replace("http", "ws", 1) + "/actors", token=token) as portal:
        said.append(f"{who} is number {await portal.run(sign, name=who)}")
        async with portal.open_stream_from(read) as stream:
            said.append(f"{who} reads {[name async for name in stream]}")
    text = await trio.to_thread.run_sync(lambda: urllib.request.urlopen(url).read().decode())
    return [*said, f"the page says {text!r}"]


async def let_two_in(url: str, token: str) -> None:
    async with tractor.open_nursery() as nursery:
        for who in ("ada", "grace"):
            visitor = await nursery.run_in_actor(visit, url=url, token=token, who=who)
            for line in await visitor.wait_for_result():
                print(line)


async def wait(url: str, token: str) -> None:
    print(url, token, flush=True)
    await trio.sleep_forever()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        with suppress(KeyboardInterrupt):
            trio.run(serve, int(sys.argv[1]), wait)
    else:
        trio.run(serve, 0, let_two_in)
