"""A web page that shows what a tree of actors streams: prices of three grains, each traded in an actor.

    python live_page.py [PORT]          then open the address that it prints

One port serves the page and, at ``/actors``, the actors. Stop and restart it while the page is open: the page
says that the connection is gone, and goes on when it is back. Needs ``hypercorn[trio]`` and ``starlette``.
"""

from __future__ import annotations

import secrets
import signal
import sys
from functools import partial
from pathlib import Path

import live_market
import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles

import tractor_core as tractor
from tractor_websocket import browser_module
from tractor_websocket.asgi import TractorASGI

FILES = Path(__file__).with_name("live_page")


def application(token: str) -> Starlette:
    async def session(request: Request) -> JSONResponse:
        # Pages of other origins cannot read this, nor may they connect.
        return JSONResponse({"token": token}, headers={"Cache-Control": "no-store"})

    async def client(request: Request) -> FileResponse:
        return FileResponse(browser_module(), media_type="text/javascript")

    return Starlette(
        routes=[
            WebSocketRoute("/actors", TractorASGI(tractor.current_actor)),
            Route("/session", session),
            Route("/tractor.js", client),
            Mount("/", StaticFiles(directory=FILES, html=True)),
        ]
    )


async def main(port: str = "8421") -> None:
    token = secrets.token_urlsafe()
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.errorlog = None
    async with (
        tractor.open_root_actor(
            name="hub",
            registry_addrs=["tcp://127.0.0.1:0"],
            enable_modules=["live_market"],
            auth_tokens={token: "page"},
            client_tracebacks=True,  # an example shows them; a service keeps them in its log
        ),
        tractor.open_nursery() as actors,
        trio.open_nursery() as nursery,
    ):
        for grain, first in live_market.GRAINS.items():
            portal = await actors.start_actor(grain, enable_modules=["live_market"])
            await portal.run(live_market.open_market, grain, first)

        stop = trio.Event()
        urls = await nursery.start(
            partial(serve, application(token), config, shutdown_trigger=stop.wait, mode="asgi")
        )
        print(urls[0], flush=True)
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            await anext(signals)
        nursery.cancel_scope.cancel()
        await actors.cancel()


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
