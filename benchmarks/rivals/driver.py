"""Does what ``benchmarks.rival`` says, line by line. Only the standard library: no rival needs another."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any

CALLERS = 50
SMALL, LARGE = bytes(16), bytes(1024 * 1024)

# What a library prints must not be taken for an answer.
_answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

Work = Callable[[int], float]
AsyncWork = Callable[[int], Awaitable[float]]


def add(x: int, y: int) -> int:
    return x + y


def length(value: bytes) -> int:
    return len(value)


def timed(function: Callable[[], Any], count: int) -> float:
    begin = time.perf_counter()
    for _ in range(count):
        function()
    return time.perf_counter() - begin


def by_threads(function: Callable[[], Any], count: int) -> float:
    """``CALLERS`` threads at once."""
    with ThreadPoolExecutor(CALLERS) as pool:
        begin = time.perf_counter()
        done = [pool.submit(timed, function, count // CALLERS) for _ in range(CALLERS)]
        for future in done:
            future.result()
        return time.perf_counter() - begin


async def atimed(function: Callable[[], Awaitable[Any]], count: int) -> float:
    begin = time.perf_counter()
    for _ in range(count):
        await function()
    return time.perf_counter() - begin


async def by_tasks(function: Callable[[], Awaitable[Any]], count: int) -> float:
    """``CALLERS`` tasks at once."""
    begin = time.perf_counter()
    await asyncio.gather(*(atimed(function, count // CALLERS) for _ in range(CALLERS)))
    return time.perf_counter() - begin


def answer(value: object) -> None:
    print(value, file=_answers, flush=True)


def _hello(package: str | None, works: dict[str, Any]) -> None:
    answer(json.dumps({"version": version(package) if package else "", "works": list(works)}))


def drive(package: str | None, works: dict[str, Work]) -> None:
    _hello(package, works)
    for line in sys.stdin:
        work, count = line.split()
        answer(works[work](int(count)))


async def adrive(package: str, works: dict[str, AsyncWork]) -> None:
    """The same on asyncio; waiting for a line leaves the loop running."""
    _hello(package, works)
    while line := await asyncio.to_thread(sys.stdin.readline):
        work, count = line.split()
        answer(await works[work](int(count)))
