"""Floors that are processes rather than connections: an interpreter that imports trio, and a bare fork."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import trio

from .lines import ask


async def run_imports(count: int, modules: str) -> float:
    """Seconds for ``count`` interpreters, one after the other, that import ``modules`` and end."""
    begin = time.perf_counter()
    for _ in range(count):
        await trio.run_process([sys.executable, "-c", f"import {modules}"])
    return time.perf_counter() - begin


class Forker:
    """A template that forks on demand. Every method returns seconds for ``count`` children."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process

    async def one_by_one(self, count: int) -> float:
        """One after the other."""
        return sum([await self._fork(1) for _ in range(count)])

    async def at_once(self, count: int, *, together: int) -> float:
        """``together`` at a time."""
        return sum([await self._fork(together) for _ in range(count)])

    async def _fork(self, together: int) -> float:
        return float(await ask(self._process, str(together)))


@asynccontextmanager
async def open_forker() -> AsyncIterator[Forker]:
    """Start the template."""
    command = [sys.executable, "-m", "benchmarks.bare_fork"]
    run = partial(trio.run_process, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, check=False)
    async with trio.open_nursery() as nursery:
        yield Forker(await nursery.start(run))
        nursery.cancel_scope.cancel()
