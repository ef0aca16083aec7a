"""Who is killed, how, and what those below it are doing: all of it, or a part that covers every pair.

``python -m programs.kill_matrix`` (in ``tests/e2e``) goes through all of it and prints how long each took;
a case over two seconds, or one that leaves something behind, is an error.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import trio

SIGNALS = ("SIGKILL", "SIGTERM")
VICTIMS = ("root", "middle", "leaf")
BEHAVIOURS = ("idle", "block", "compute", "stop")
SCHEMES = ("tcp", "uds")

HERE = Path(__file__).resolve().parent.parent

#: Seconds: what is promised, and when a check gives up on a machine that is busy with other things.
PROMISED, PATIENCE = 2.0, 8.0


@dataclass(frozen=True)
class Case:
    signal: str
    victim: str
    behaviour: str
    scheme: str

    def __str__(self) -> str:
        return f"{self.signal} of the {self.victim}, {self.behaviour} below it, {self.scheme}"


class Places:
    """Addresses for the registries of several trees at once, that nobody else uses."""

    def __init__(self) -> None:
        self._numbers = itertools.count()

    def registry(self, scheme: str) -> str:
        number = next(self._numbers)
        if scheme == "uds":
            return f"uds://{os.environ['XDG_RUNTIME_DIR']}/killed-{number}.sock"
        while True:
            # Below the range from which the system picks, so that no connection takes it meanwhile.
            port = random.randrange(20_000, 32_000)
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    continue
            return f"tcp://127.0.0.1:{port}"


def every_case() -> list[Case]:
    return [Case(*values) for values in itertools.product(SIGNALS, VICTIMS, BEHAVIOURS, SCHEMES)]


def covering_cases() -> list[Case]:
    """A part of it in which every pair of values of two dimensions occurs; chosen greedily."""
    cases = every_case()
    missing = {pair for case in cases for pair in _pairs(case)}
    chosen = []
    while missing:
        best = max(cases, key=lambda case: len(missing & _pairs(case)))
        chosen.append(best)
        missing -= _pairs(best)
    return chosen


def _pairs(case: Case) -> set[tuple[str, str]]:
    values = (case.signal, case.victim, case.behaviour, case.scheme)
    return set(itertools.combinations(values, 2))


async def run_case(case: Case, registry: str) -> float:
    """Kill one of a tree and wait until all are gone; returns how long that took (seconds).

    ``AssertionError`` where something stays, or another tree cannot have the registry's address at once.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    root = subprocess.Popen(
        [sys.executable, "-m", "programs.tree", registry, case.victim, case.behaviour],
        cwd=HERE,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    pids: list[int] = [root.pid]
    try:
        assert root.stdout is not None
        await trio.lowlevel.wait_readable(root.stdout)
        pids = json.loads(root.stdout.readline() or b"[]")
        assert len(pids) == 4, f"{case}: the tree did not stand: {root.stderr and root.stderr.read()!r}"
        started = time.monotonic()
        victim = pids[VICTIMS.index(case.victim)]
        os.kill(victim, signal.Signals[case.signal])
        # One that is stopped learns of no other signal than SIGKILL until it is continued.
        if case.signal != "SIGKILL":
            _send(victim, signal.SIGCONT)
        took = await _all_gone(case, root, pids, started)
        root.communicate()
    finally:
        end(root, pids)
    # In a process of its own, for a process has one root at a time and cases run side by side.
    again = subprocess.Popen(
        [sys.executable, "-m", "programs.tree", registry], cwd=HERE, env=environment, stderr=subprocess.PIPE
    )
    with again:
        while again.poll() is None:
            await trio.sleep(0.02)
        assert again.stderr is not None
        assert again.returncode == 0, f"{case}: the next start failed: {again.stderr.read()!r}"
    return took


async def _all_gone(case: Case, root: subprocess.Popen[bytes], pids: Sequence[int], started: float) -> float:
    while root.poll() is None or any(alive(pid) for pid in pids):
        if time.monotonic() - started > PATIENCE:
            left = {pid: state(pid) for pid in pids}
            raise AssertionError(f"{case}: after {PATIENCE} s there is still one of {left}")
        await trio.sleep(0.02)
    return time.monotonic() - started


def end(root: subprocess.Popen[bytes], pids: Iterable[int]) -> None:
    """Whatever happened, leave no process."""
    if root.poll() is None:
        root.kill()
        root.wait()
    for pid in pids:
        if pid != root.pid and alive(pid):
            _send(pid, signal.SIGKILL)
    for stream in (root.stdout, root.stderr):
        if stream is not None:
            stream.close()


def _send(pid: int, signum: int) -> None:
    """Signal a process of the tree, unless it has ended and its parent has reaped it by now."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signum)


def state(pid: int) -> str:
    """The letter of the process's state; ``X`` when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


def alive(pid: int) -> bool:
    """Whether the process can still do anything: an orphan is reaped by init in its own time."""
    return state(pid) not in "ZX"


def children() -> list[int]:
    """The processes that this one has started and not reaped."""
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


async def main() -> int:
    failed = 0
    with tempfile.TemporaryDirectory(prefix="tc-") as directory:
        os.environ["XDG_RUNTIME_DIR"] = directory
        places = Places()
        for case in every_case():
            try:
                took = await run_case(case, places.registry(case.scheme))
                verdict = "" if took <= PROMISED else "  TOO LONG"
                print(f"{took:5.2f} s  {case}{verdict}", flush=True)
            except AssertionError as error:
                verdict = str(error)
                print(f"FAILED   {error}", flush=True)
            failed += bool(verdict)
    print(f"{failed} failed")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(trio.run(main))
