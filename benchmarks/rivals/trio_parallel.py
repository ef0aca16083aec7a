"""trio-parallel: calls in worker processes, from trio."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import trio
import trio_parallel

from .driver import CALLERS, LARGE, add, drive, length


async def calls(function: Callable[..., Any], *arguments: Any, count: int, callers: int = 1) -> float:
    limiter = trio.CapacityLimiter(1)

    async def caller() -> None:
        for _ in range(count // callers):
            await trio_parallel.run_sync(function, *arguments, limiter=limiter)

    await trio_parallel.run_sync(function, *arguments, limiter=limiter)  # a process is there
    begin = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(callers):
            nursery.start_soon(caller)
    return time.perf_counter() - begin


def main() -> None:
    drive(
        "trio-parallel",
        {
            "rpc": lambda count: trio.run(partial(calls, add, 1, 2, count=count)),
            "callers": lambda count: trio.run(partial(calls, add, 1, 2, count=count, callers=CALLERS)),
            "large": lambda count: trio.run(partial(calls, length, LARGE, count=count)),
        },
    )


if __name__ == "__main__":
    main()
