"""Pyro5: a daemon on a unix socket; many callers are threads, each with a proxy."""

from __future__ import annotations

import os
import tempfile
import threading
from multiprocessing import get_context
from typing import Any

import Pyro5.api

from .driver import CALLERS, LARGE, SMALL, by_threads, drive, timed

Pyro5.config.THREADPOOL_SIZE = 2 * CALLERS


@Pyro5.api.expose
class Service:
    def add(self, x: int, y: int) -> int:
        return x + y

    def length(self, value: Any) -> int:
        return len(value)


def serve(path: str, ready: Any) -> None:
    daemon = Pyro5.api.Daemon(unixsocket=path)
    daemon.register(Service, objectId="service")
    ready.set()
    daemon.requestLoop()


def main() -> None:
    context = get_context("spawn")
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        path, ready = os.path.join(directory, "pyro.sock"), context.Event()
        server = context.Process(target=serve, args=(path, ready), daemon=True)
        server.start()
        ready.wait()
        name = f"PYRO:service@./u:{path}"
        proxy = Pyro5.api.Proxy(name)
        own = threading.local()

        def call_of_thread() -> None:
            if not hasattr(own, "proxy"):
                own.proxy = Pyro5.api.Proxy(name)
            own.proxy.add(1, 2)

        drive(
            "Pyro5",
            {
                "rpc": lambda count: timed(lambda: proxy.add(1, 2), count),
                "callers": lambda count: by_threads(call_of_thread, max(count, CALLERS)),
                "stream": lambda count: timed(lambda: proxy.length(SMALL), count),
                "large": lambda count: timed(lambda: proxy.length(LARGE), count),
            },
        )
        server.terminate()


if __name__ == "__main__":
    main()
