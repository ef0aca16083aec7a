"""Rivals: what users would pick instead, each in its own process and in an environment of its own.

A rival's program says on its first line what it can do, then does what it is told, line by line. Those that
are not installed are skipped with a line; one that listens where others could reach it is an error.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import trio

from .lines import ask, read_line
from .processes import descendants, is_local, listening
from .terms import Measure

NAMES = (
    "xoscar", "distributed", "grpcio", "rpyc", "Pyro5", "multiprocessing", "loky", "trio_parallel",
)  # fmt: skip
#: Those on asyncio, which calls are measured against.
PEERS = ("xoscar", "distributed", "grpcio")
#: Where ``setup_rivals.sh`` puts them.
ENVIRONMENT = Path(__file__).parent / ".rivals"
_PROJECT = Path(__file__).parent.parent
_START_SECONDS, _END_SECONDS = 60, 10


class NotLocal(RuntimeError):
    """A rival listens where other machines could reach it."""


class Rival:
    """One program at work."""

    def __init__(self, name: str, version: str, works: Iterable[str], process: trio.Process) -> None:
        self.name = f"{name} {version}".rstrip()
        self.is_peer = name in PEERS
        self.works = frozenset(works)
        self._process = process

    def measure(self, work: str) -> Measure:
        """Seconds for so many operations of ``work``."""
        return partial(self._do, work)

    async def _do(self, work: str, count: int) -> float:
        answer = await ask(self._process, f"{work} {count}")
        if not answer:
            raise RuntimeError(f"{self.name} ended in the middle of {work}")
        check_local(self.name, self._process.pid)
        return float(answer)

    async def aclose(self) -> None:
        """Its input ends, and so does it; whom it leaves behind is killed."""
        assert self._process.stdin is not None
        started = descendants(self._process.pid)
        await self._process.stdin.aclose()
        with trio.move_on_after(_END_SECONDS):
            await self._process.wait()
        for pid in started:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def check_local(name: str, pid: int) -> None:
    """Raise :exc:`NotLocal` if a program or one that it started listens beyond this machine."""
    outside = [host for host in listening([pid, *descendants(pid)]) if not is_local(host)]
    if outside:
        raise NotLocal(f"{name} listens at {', '.join(outside)}")


@asynccontextmanager
async def open_rivals(
    names: Iterable[str], environment: Path
) -> AsyncIterator[tuple[list[Rival], list[str]]]:
    """Start those that are installed; the second list has a line for each that is not."""
    rivals: list[Rival] = []
    absent: list[str] = []
    async with AsyncExitStack() as stack:
        nursery = await stack.enter_async_context(trio.open_nursery())
        stack.callback(nursery.cancel_scope.cancel)
        for name in names:
            found = await _open(nursery, name, environment)
            if isinstance(found, Rival):
                stack.push_async_callback(found.aclose)
                rivals.append(found)
            else:
                absent.append(f"{name}: skipped, {found}")
        yield rivals, absent


async def _open(nursery: trio.Nursery, name: str, environment: Path) -> Rival | str:
    python = environment / "bin" / "python"
    if not python.exists():
        return f"there is no {python} (see benchmarks/setup_rivals.sh)"
    # The project's root, not ours, is where it finds its program; nothing of ours is on its path.
    without_path = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(python), "-m", f"benchmarks.rivals.{name}"]
    run = partial(
        trio.run_process, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        check=False, cwd=_PROJECT, env=without_path,
    )  # fmt: skip
    process = await nursery.start(run)
    with trio.move_on_after(_START_SECONDS):
        hello = await read_line(process)
        if not hello:
            return "it is not installed or does not start"
        said = json.loads(hello)
        check_local(name, process.pid)
        return Rival(name, said["version"], said["works"], process)
    return f"it did not start within {_START_SECONDS} s"
