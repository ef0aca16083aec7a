"""The other process of the bare echo: ``python -m benchmarks.bare_server tcp`` or ``uds PATH``.

Prints the address it listens at, as JSON, and serves until it is ended.
"""

from __future__ import annotations

import json
import sys
from functools import partial

import trio

from .frames import Frames


async def serve_one(stream: trio.SocketStream) -> None:
    """Answer ``["echo", value]`` with the value and ``["count", n]`` after the next n values with n."""
    frames = Frames(stream)
    while (message := await frames.receive()) is not None:
        kind, value = message
        if kind == "count":
            for _ in range(value):
                await frames.receive()
        await frames.send(value)
    await frames.aclose()


async def serve(scheme: str, path: str = "") -> None:
    if scheme == "tcp":
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        where = listeners[0].socket.getsockname()[1]
    else:
        sock = trio.socket.socket(trio.socket.AF_UNIX)
        await sock.bind(path)
        sock.listen(64)
        listeners, where = [trio.SocketListener(sock)], path
    print(json.dumps([scheme, where]), flush=True)
    await trio.serve_listeners(serve_one, listeners)


if __name__ == "__main__":
    trio.run(partial(serve, *sys.argv[1:]))
