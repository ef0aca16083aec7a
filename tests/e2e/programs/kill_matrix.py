"""Kills one of a tree of real processes, and watches the others go.

``python -m programs.kill_matrix`` (in ``tests/e2e``) goes through all cases, several at a time, and prints
how long each took. One that took over two seconds is done again by itself at the end; one that still does,
or that leaves something behind, is an error.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import median

import trio

from .kill_cases import VICTIMS, Case, covering, every_case

HERE = Path(__file__).resolve().parent.parent

#: Seconds: what is promised, and when a check gives up on a machine that is busy with other things.
PROMISED, PATIENCE = 2.0, 8.0

#: Seconds that four actors may take to start on such a machine.
STANDING = 30.0

#: Carried by every process of a case in its environment.
MARK = "TRACTOR_TESTS_KILL_CASE"

#: What is sent; a victim that is to be stopped is killed then.
KILLING = {
    "SIGKILL": signal.SIGKILL,
    "SIGTERM": signal.SIGTERM,
    "SIGINT": signal.SIGINT,
    "SIGSTOP": signal.SIGKILL,
}

_numbers = itertools.count()

#: The ports that the latest cases have, far more than there are at a time.
_chosen: deque[int] = deque(maxlen=200)


class Place:
    """Where one tree lives: a registry's address and a runtime directory that nobody else uses."""

    def __init__(self, scheme: str) -> None:
        self.number = f"{os.getpid()}-{next(_numbers)}"
        self.directory = Path(os.environ["XDG_RUNTIME_DIR"], f"k{self.number}")
        self.directory.mkdir(mode=0o700)
        self.registry = f"{scheme}://{self.directory}/r.sock" if scheme == "uds" else _free_url(scheme)
        self.environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "XDG_RUNTIME_DIR": str(self.directory),
            MARK: self.number,
        }

    def processes(self) -> list[int]:
        """Every process that was started from here, and can still do anything."""
        mark = f"{MARK}={self.number}\0".encode()
        return [pid for pid in _pids() if mark in _read(pid, "environ")]

    def files(self) -> list[str]:
        """What lies in the directory. Lock files stay: removing one would race with the next to lock it."""
        found = (path for path in self.directory.rglob("*") if not path.is_dir() and path.suffix != ".lock")
        return sorted(str(path.relative_to(self.directory)) for path in found)


async def run_case(case: Case) -> float:
    """Kill one of a tree and wait until all are gone; returns how long that took (seconds).

    ``AssertionError`` where something stays, or another tree cannot have the registry's address at once.
    """
    place = Place(case.scheme)
    root = subprocess.Popen(
        [sys.executable, "-m", "programs.tree", place.registry, case.victim, case.behaviour, case.method],
        cwd=HERE,
        env=place.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=_as_from_a_terminal,
    )
    try:
        assert root.stdout is not None and root.stderr is not None
        with trio.move_on_after(STANDING):
            await trio.lowlevel.wait_readable(root.stdout)
        stands = select.select([root.stdout], [], [], 0)[0]
        assert stands, f"{case}: the tree does not stand after {STANDING} s"
        pids = json.loads(root.stdout.readline() or b"[]")
        assert len(pids) == 4, f"{case}: the tree did not stand: {root.stderr.read()!r}"
        began = await _strike(case, pids)
        took = await _all_gone(case, root, place, began)
        root.communicate()
    finally:
        end(root, place.processes())
    await _start_again(case, place)
    return took


def _as_from_a_terminal() -> None:
    """Undo what ``nohup`` and a shell's ``&`` do: programs started so ignore these, and rightly go on."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


async def _strike(case: Case, pids: Sequence[int]) -> float:
    """Do to the victim what the case says, and if the tree stands that, end its root; returns when."""
    victim = _template(pids[0]) if case.victim == "template" else pids[VICTIMS.index(case.victim)]
    began = time.monotonic()
    if case.signal == "SIGSTOP":
        _send(victim, signal.SIGSTOP)
        await trio.sleep(0.1)
    _send(victim, KILLING[case.signal])
    # One that is stopped learns of no other signal than SIGKILL until it is continued.
    if case.signal != "SIGKILL":
        _send(victim, signal.SIGCONT)
    if not case.spares_actors:
        return began
    await trio.sleep(0.2)
    dead = [pid for pid in pids if not alive(pid)]
    assert not dead, f"{case}: it ended actors, {dead} of {pids}"
    began = time.monotonic()
    _send(pids[0], signal.SIGINT if case.signal == "SIGINT" else signal.SIGKILL)
    return began


def _template(root: int) -> int:
    (found,) = (pid for pid in _children(root) if b"tractor_forkserver" in _read(pid, "cmdline"))
    return found


async def _all_gone(case: Case, root: subprocess.Popen[bytes], place: Place, began: float) -> float:
    while root.poll() is None or place.processes():
        if time.monotonic() - began > PATIENCE:
            states = {pid: (state(pid), _read(pid, "cmdline")) for pid in place.processes()}
            raise AssertionError(f"{case}: after {PATIENCE} s there is still {states}")
        await trio.sleep(0.05)
    return time.monotonic() - began


async def _start_again(case: Case, place: Place) -> None:
    """In a process of its own, for a process has one root at a time and cases run side by side."""
    again = subprocess.Popen(
        [sys.executable, "-m", "programs.tree", place.registry],
        cwd=HERE,
        env=place.environment,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    with again:
        while again.poll() is None:
            await trio.sleep(0.02)
        assert again.stderr is not None
        assert again.returncode == 0, f"{case}: the next start failed: {again.stderr.read()!r}"
    assert not place.files(), f"{case}: left behind {place.files()}"
    assert not place.processes(), f"{case}: the next start left processes"


def end(root: subprocess.Popen[bytes], pids: Iterable[int]) -> None:
    """Whatever happened, leave no process."""
    if root.poll() is None:
        root.kill()
        root.wait()
    for pid in pids:
        _send(pid, signal.SIGKILL)
    for stream in (root.stdout, root.stderr):
        if stream is not None:
            stream.close()


# -- processes -------------------------------------------------------------------------------


def _send(pid: int, signum: int) -> None:
    """Signal a process of the tree, unless it has ended and its parent has reaped it by now."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signum)


def state(pid: int) -> str:
    """The letter of the process's state; ``X`` when there is none."""
    stat = _read(pid, "stat").decode(errors="replace")
    return stat.rpartition(")")[2].split()[0] if stat else "X"


def alive(pid: int) -> bool:
    """Whether the process can still do anything: an orphan is reaped by init in its own time."""
    return state(pid) not in "ZX"


def _children(pid: int) -> list[int]:
    return [int(child) for child in _read(pid, f"task/{pid}/children").split()]


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _read(pid: int, name: str) -> bytes:
    """A file of ``/proc/PID``; empty where the process has gone or is another user's."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def _free_url(scheme: str) -> str:
    # Of sixteen shares the one that the tests of this process have, where others run beside it.
    share = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 16
    while True:
        # Below the range from which the system picks, so that no connection takes it meanwhile.
        port = random.randrange(20_000 + share, 32_000, 16)
        if port in _chosen:
            continue  # for another case at the same time, whose tree may not listen there yet
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _chosen.append(port)
        return f"{scheme}://127.0.0.1:{port}"


# -- the whole of it -------------------------------------------------------------------------


class Tally:
    """Runs cases and says how it goes."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self.times: dict[Case, float] = {}
        self.failures: dict[Case, str] = {}

    async def run(self, case: Case) -> None:
        verdict = ""
        try:
            self.times[case] = await run_case(case)
        except AssertionError as error:
            self.failures[case] = verdict = str(error)
        self._done += 1
        took = f"{self.times[case]:5.2f} s" if case in self.times else "FAILED "
        print(f"[{self._done:4}/{self._total}] {took}  {case}  {verdict}", flush=True)

    async def run_all(self, cases: Sequence[Case], together: int) -> None:
        limiter = trio.CapacityLimiter(together)
        async with trio.open_nursery() as tasks:
            for case in cases:
                await limiter.acquire_on_behalf_of(case)
                tasks.start_soon(self._run_limited, case, limiter)

    async def _run_limited(self, case: Case, limiter: trio.CapacityLimiter) -> None:
        try:
            await self.run(case)
        finally:
            limiter.release_on_behalf_of(case)

    @property
    def late(self) -> list[Case]:
        return [case for case, took in self.times.items() if took > PROMISED]


async def main(options: argparse.Namespace) -> int:
    cases = covering(every_case()) if options.covering else every_case()
    cases = [case for case in cases if all(word in str(case) for word in options.only)]
    # In no order, the same every time: a run that is broken off has seen something of everything.
    random.Random(0).shuffle(cases)
    cases = cases[options.skip :]
    if not cases:
        print("no case is left: none has all these words, or all were skipped", file=sys.stderr)
        return 2
    tally = Tally(len(cases))
    with tempfile.TemporaryDirectory(prefix="tc-", dir="/tmp") as directory:
        os.environ["XDG_RUNTIME_DIR"] = directory
        await tally.run_all(cases, options.together)
        late = tally.late
        if late:
            print(f"{len(late)} took over {PROMISED} s; again, one at a time:")
        again = Tally(len(late))
        await again.run_all(late, 1)
    failures = {**tally.failures, **again.failures}
    for text in failures.values():
        print(f"FAILED   {text}")
    for case in again.late:
        print(f"TOO LONG {again.times[case]:.2f} s  {case}")
    if tally.times:
        slowest = max(tally.times, key=lambda case: tally.times[case])
        print(f"median {median(tally.times.values()):.2f} s, slowest {tally.times[slowest]:.2f} s: {slowest}")
    wrong = len(failures) + len(again.late)
    print(f"{len(cases) - wrong} passed, {wrong} failed")
    return min(wrong, 1)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m programs.kill_matrix", description=__doc__)
    parser.add_argument("only", nargs="*", help="words that must all be in a case's title, e.g. template ws")
    parser.add_argument("--together", type=int, default=4, help="cases at a time (default 4)")
    parser.add_argument("--covering", action="store_true", help="only the part that the tests go through")
    parser.add_argument("--skip", type=int, default=0, metavar="N", help="leave out the first N: go on there")
    options = parser.parse_args(arguments)
    if options.together < 1 or options.skip < 0:
        parser.error("--together must be at least 1, and --skip at least 0")
    return options


if __name__ == "__main__":
    sys.exit(trio.run(main, parse()))
