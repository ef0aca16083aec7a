"""rpyc: a threaded server on a unix socket; many callers are threads, each with a connection."""

from __future__ import annotations

import os
import tempfile
import threading
from multiprocessing import get_context
from typing import Any

import rpyc
from rpyc.utils.server import ThreadedServer

from .driver import CALLERS, LARGE, SMALL, by_threads, drive, timed


class Service(rpyc.Service):
    def exposed_add(self, x: int, y: int) -> int:
        return x + y

    def exposed_length(self, value: bytes) -> int:
        return len(value)


def serve(path: str, ready: Any) -> None:
    server = ThreadedServer(Service, socket_path=path)
    server.listener.listen()  # it would only do so in start(), which does not return
    ready.set()
    server.start()


def main() -> None:
    context = get_context("spawn")
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        path, ready = os.path.join(directory, "rpyc.sock"), context.Event()
        server = context.Process(target=serve, args=(path, ready), daemon=True)
        server.start()
        ready.wait()
        connection = rpyc.utils.factory.unix_connect(path)
        own = threading.local()

        def call_of_thread() -> None:
            if not hasattr(own, "connection"):
                own.connection = rpyc.utils.factory.unix_connect(path)
            own.connection.root.add(1, 2)

        root = connection.root
        drive(
            "rpyc",
            {
                "rpc": lambda count: timed(lambda: root.add(1, 2), count),
                "callers": lambda count: by_threads(call_of_thread, max(count, CALLERS)),
                "stream": lambda count: timed(lambda: root.length(SMALL), count),
                "large": lambda count: timed(lambda: root.length(LARGE), count),
            },
        )
        server.terminate()


if __name__ == "__main__":
    main()
