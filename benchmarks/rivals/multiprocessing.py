"""The standard library: a forkserver's process in an executor for calls, a process with a pipe to spawn."""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from multiprocessing.connection import Connection

from .driver import LARGE, SMALL, add, by_threads, drive, length, timed


def say_ready(pipe: Connection) -> None:
    pipe.send(True)
    pipe.recv()


def main() -> None:
    context = get_context("forkserver")

    def spawn(count: int) -> float:
        seconds = 0.0
        for _ in range(count):
            begin = time.perf_counter()
            mine, other = context.Pipe()
            process = context.Process(target=say_ready, args=(other,))
            process.start()
            mine.recv()
            seconds += time.perf_counter() - begin
            mine.send(True)
            process.join()
        return seconds

    with ProcessPoolExecutor(1, mp_context=context) as pool:
        drive(
            None,
            {
                "rpc": lambda count: timed(lambda: pool.submit(add, 1, 2).result(), count),
                "callers": lambda count: by_threads(lambda: pool.submit(add, 1, 2).result(), count),
                "stream": lambda count: timed(lambda: pool.submit(length, SMALL).result(), count),
                "large": lambda count: timed(lambda: pool.submit(length, LARGE).result(), count),
                "spawn": spawn,
            },
        )


if __name__ == "__main__":
    main()
