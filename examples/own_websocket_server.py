"""A program that has a WebSocket server already, and lets some of its visitors talk to an actor.

Its server repeats what it is told, as it always did. Who asks for ``/actors`` is handed to the actor, with
one line. Needs tractor-core[websocket].
"""

from __future__ import annotations

from functools import partial

import trio
from trio_websocket import ConnectionClosed, WebSocketRequest, open_websocket_url, serve_websocket

import tractor_core as tractor
from tractor_websocket import serve_on


async def square(number: int) -> int:
    return number * number


async def handler(actor: tractor.Actor, request: WebSocketRequest) -> None:
    if request.path == "/actors":
        await serve_on(actor, request)
    else:
        await echo(request)


async def echo(request: WebSocketRequest) -> None:
    websocket = await request.accept()
    try:
        while True:
            await websocket.send_message(await websocket.get_message())
    except ConnectionClosed:
        pass


async def ask(url: str) -> list[int]:
    """Runs in another process, which knows nothing of the first but its URL."""
    async with tractor.open_portal(url) as portal:
        return [await portal.run(square, number) for number in range(1, 6)]


async def main() -> None:
    async with tractor.open_root_actor(enable_modules=[__name__]) as actor, trio.open_nursery() as nursery:
        server = await nursery.start(
            partial(serve_websocket, partial(handler, actor), "127.0.0.1", 0, ssl_context=None)
        )
        url = f"ws://127.0.0.1:{server.port}"

        async with open_websocket_url(f"{url}/echo") as websocket:
            await websocket.send_message("is anybody there?")
            print("echo:", await websocket.get_message())

        async with tractor.open_nursery() as actors:
            other = await actors.run_in_actor(ask, url=f"{url}/actors")
            print("squares:", *await other.wait_for_result())

        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
