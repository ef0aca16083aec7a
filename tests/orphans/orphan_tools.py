"""Starting the programs of this directory, and finding whatever of them is left."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trio

HERE = Path(__file__).parent

METHODS = ("subprocess", "forkserver", "multiprocessing")

#: Carried by every process of a program in its environment.
MARK = "TRACTOR_TESTS_ORPHANS"

_numbers = itertools.count()


class Program:
    """A running program and whatever it has started."""

    def __init__(self, process: subprocess.Popen[bytes], mark: str) -> None:
        self.process = process
        self._mark = mark

    async def says(self) -> dict[str, Any]:
        """What it says next: a line of JSON."""
        assert self.process.stdout is not None
        line = await trio.to_thread.run_sync(self.process.stdout.readline)
        assert line, "it ended without a word"
        facts: dict[str, Any] = json.loads(line)
        return facts

    def left(self) -> dict[int, str]:
        """Every process of it that can still do anything, with its command."""
        mark = f"{MARK}={self._mark}\0".encode()
        found = {}
        for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
            # A zombie has no environment any more.
            if mark in read(pid, "environ"):
                found[pid] = read(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace")[:100]
        return found

    async def gone(self, within: float) -> None:
        """Wait until nothing is left; ``AssertionError`` after so many seconds."""
        with trio.move_on_after(within):
            while self.left():
                await trio.sleep(0.02)
            return
        raise AssertionError(f"after {within} s there is still {self.left()}")


@contextmanager
def program(
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    command: Sequence[str] = (),
    first: Callable[[], object] | None = None,
) -> Iterator[Program]:
    """Run ``python -m orphan_programs`` in the block, behind ``command``; nothing of it is left after it.

    ``first`` is called in the new process before anything else.
    """
    mark = f"{os.getpid()}-{next(_numbers)}"
    process = subprocess.Popen(
        [*command, sys.executable, "-m", "orphan_programs", *arguments],
        cwd=HERE,
        env={**os.environ, **(environment or {}), "PYTHONPATH": os.pathsep.join(sys.path), MARK: mark},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        preexec_fn=first,
    )
    running = Program(process, mark)
    assert process.stdout is not None
    with process.stdout:
        try:
            yield running
        finally:
            process.kill()
            process.wait()
            for pid in running.left():
                send(pid, signal.SIGKILL)


def send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass  # ended meanwhile


def read(pid: int, name: str) -> bytes:
    """A file of ``/proc/PID``; empty where the process has gone or is another user's."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def children(pid: int) -> list[int]:
    return [int(child) for child in read(pid, f"task/{pid}/children").split()]


def template_of(pid: int) -> int:
    (found,) = (child for child in children(pid) if b"tractor_forkserver" in read(child, "cmdline"))
    return found
