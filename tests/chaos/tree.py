"""One tree from its start to its end, faults in between, and what is wrong with it."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
import trio

import tractor_core as tractor

from . import actors, faults, invariants, processes
from .journal import DEADLINE, VARIABLE, Entry, Reader
from .plan import Fault, Plan, Visit

#: The directory that makes this package importable by the processes of a tree.
IMPORT_ROOT: Final = Path(__file__).resolve().parent.parent

#: Seconds without a new step after which a tree that stands has no more to do, so that what was to happen at
#: a later one happens now; and after which one that does not stand is not expected to any more.
QUIET: Final = 0.3
STUCK: Final = 40.0

#: Seconds within which a survivor must answer, and within which an ended tree must be gone. The promises are
#: shorter; these are for a machine that is busy with other things.
PATIENCE: Final = 30.0

#: Seconds until one that did not answer is asked again.
ASK_AGAIN: Final = 1.0

#: How often the tree is looked at (seconds).
TICK: Final = 0.02


#: The ports of the latest trees, far more than there are at a time.
_chosen: deque[int] = deque(maxlen=200)


@dataclass
class Verdict:
    """What one tree came to."""

    plan: Plan
    wrong: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)
    actors: int = 0
    teardown: float = 0.0
    ended_by_libzmq: bool = False


class Tree:
    """A running tree, seen from outside, in a directory of its own."""

    def __init__(self, plan: Plan, directory: Path) -> None:
        self.plan = plan
        self.directory = directory
        self.verdict = Verdict(plan)
        self.runtime_directory = directory / "run"
        self.journal_path = directory / "journal"
        self.journal = Reader(self.journal_path)
        self.key = f"key of tree {plan.index} of {plan.seed}" if plan.explicit_key else None
        self.registry = self._registry()
        self._due: list[Fault | Visit] = [fault for fault in plan.faults if not fault.late]
        self._due += plan.visits
        self._last_step = time.monotonic()
        self._busy = 0
        self._stopped: set[int] = set()
        self._programs: list[subprocess.Popen[bytes]] = []

    async def run(self) -> Verdict:
        """Start it, let everything happen, end it, and look at what is left."""
        self.runtime_directory.mkdir(mode=0o700, parents=True)
        (self.directory / "plan").write_bytes(msgspec.json.encode(self.plan))
        try:
            root = self._start("program", str(self.directory / "plan"), self.registry, end_by_input=True)
            await self._until_all_happened(root)
            await self._end(root)
            await self._again()
            self._look_back()
        finally:
            for program in self._programs:
                with suppress(ProcessLookupError):
                    program.kill()
                program.wait()
                if program.stdin is not None:
                    program.stdin.close()
            for pid in processes.members(self.journal_path):
                processes.send(pid, signal.SIGKILL)
        return self.verdict

    # -- while it lives --------------------------------------------------------------------------------

    async def _until_all_happened(self, root: subprocess.Popen[bytes]) -> None:
        async with trio.open_nursery() as tasks:
            while root.poll() is None:
                self._fire_due(tasks)
                if not self._due and not self._busy and not self._unfinished() and self._is_quiet():
                    break
                if self._idle() > DEADLINE + PATIENCE:
                    waiting = ", ".join(f"{entry.name}: {entry.work}" for entry in self._unfinished())
                    await self._accuse(f"nothing happens any more, and there still waits {waiting}")
                    break
                await trio.sleep(TICK)
        if root.poll() is None and not self._stopped and (late := self._not_standing()):
            await self._accuse(f"after {STUCK} s without a step, {' and '.join(late)} still started children")

    def _fire_due(self, tasks: trio.Nursery) -> None:
        lines = len(self.journal.entries)
        steps = self.journal.update()
        if steps > lines:
            self._last_step = time.monotonic()
        for event in list(self._due):
            if self._is_quiet() or (event.step <= steps and self._is_up(event)):
                self._due.remove(event)
                self._busy += 1
                tasks.start_soon(self._strike if isinstance(event, Fault) else self._let_visit, event)

    def _is_up(self, event: Fault | Visit) -> bool:
        """Whether the one that this concerns has come up: until then it can wait."""
        name = event.victim if isinstance(event, Fault) else event.target
        return any(entry.name == name for entry in self.journal.of("hello"))

    def _is_quiet(self) -> bool:
        """Whether nothing more comes of itself: every actor has its children, or failed to, and is idle."""
        return self._idle() > (STUCK if self._not_standing() else QUIET)

    def _not_standing(self) -> list[str]:
        """Who is there and still starts children; the root too, until it is there."""
        standing = {entry.pid for entry in self.journal.of("standing")}
        alive = [entry for entry in self.journal.of("hello") if entry.urls and processes.alive(entry.pid)]
        return [entry.name for entry in alive if entry.pid not in standing] if alive else ["root"]

    def _idle(self) -> float:
        return time.monotonic() - self._last_step

    def _unfinished(self) -> list[Entry]:
        """Works under way in processes that can go on with them."""
        return [
            entry
            for entry in self.journal.open_works()
            if not entry.work.partition(" ")[2].startswith("keeping")
            and entry.pid not in self._stopped
            and processes.alive(entry.pid)
        ]

    async def _strike(self, fault: Fault) -> None:
        """Do it, and see that the survivors still answer."""
        victim = self._process_of(fault.victim)
        try:
            if victim is None:
                raise faults.Missed
            if fault.kind == "stop":
                self._stopped.add(victim.pid)
            await faults.inflict(fault.kind, victim.pid, victim.urls, fault.amount)
            self.verdict.done.append(fault.kind)
        except faults.Missed:
            self.verdict.missed.append(fault.kind)
        if not fault.late:
            await self._ask_survivors(str(fault))
            self._busy -= 1

    def _process_of(self, name: str) -> Entry | None:
        """The one of that name, if it has come up and can still be struck."""
        for entry in reversed(self.journal.of("hello")):
            if entry.name == name and processes.alive(entry.pid):
                return entry
        return None

    async def _let_visit(self, visit: Visit) -> None:
        host = self._process_of(visit.target)
        if host is not None:
            url = random.Random(visit.step).choice(host.urls)
            self._start("visitor", msgspec.json.encode(visit).decode(), url)
        # Its own hello says that it runs; until then nobody knows of its work.
        with trio.move_on_after(PATIENCE):
            while host is not None and not any(e.name == visit.name for e in self.journal.of("hello")):
                await trio.sleep(TICK)
        self._busy -= 1

    # -- survivors -------------------------------------------------------------------------------------

    async def _ask_survivors(self, after: str) -> None:
        async with trio.open_nursery() as tasks:
            for entry in self.journal.of("hello"):
                if entry.urls and entry.pid not in self._stopped and processes.alive(entry.pid):
                    tasks.start_soon(self._ask, entry, after)

    async def _ask(self, entry: Entry, after: str) -> None:
        """Whoever stays alive must answer, and have reaped its children."""
        said = "nothing"
        with trio.move_on_after(PATIENCE):
            while processes.alive(entry.pid) and entry.pid not in self._stopped:
                try:
                    async with tractor.open_portal(entry.urls[0], auth_key=self.key, name="asker") as portal:
                        name, pid = await portal.run(actors.whoami)
                except (OSError, tractor.errors.TractorError) as error:
                    said = f"{type(error).__name__}: {error}"
                    # Not at once: the root counts its sockets in between, and this would be one of them.
                    await trio.sleep(ASK_AGAIN)
                    continue
                if pid != entry.pid:
                    return  # somebody else has the address by now
                assert name == entry.name
                while zombies := processes.zombies(entry.pid):
                    said = f"that it is well, and does not reap {zombies}"
                    await trio.sleep(0.1)
                return
            return
        if entry.pid not in self._stopped:
            await self._accuse(f"{entry.name} ({entry.pid}) survived {after}, and said {said}")

    # -- its end ---------------------------------------------------------------------------------------

    async def _end(self, root: subprocess.Popen[bytes]) -> None:
        """End it in the way that was drawn; everything must be gone in bounded time."""
        self.journal.update()
        losses = list(invariants.losses(self.plan, self.journal, processes.alive))
        if losses and invariants.ended_by_libzmq(self.errors()):
            self.verdict.ended_by_libzmq = True
        else:
            self.verdict.wrong += losses
        started = time.monotonic()
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as tasks:
                for fault in self.plan.faults:
                    if fault.late:
                        tasks.start_soon(self._strike, fault)
                self._ask_to_end(root)
                await self._gone(root, started)
        self.verdict.teardown = time.monotonic() - started
        self._judge_exit(root.returncode)

    def _ask_to_end(self, root: subprocess.Popen[bytes]) -> None:
        assert root.stdin is not None
        if self.plan.ending == "terminate" and root.poll() is None:
            root.terminate()
        elif self.plan.ending == "kill" and root.poll() is None:
            root.kill()
        else:
            root.stdin.close()
        self._kill_stopped_programs()

    def _kill_stopped_programs(self) -> None:
        """Nobody but who started them can end the root and its visitors when they stand still."""
        for program in self._programs:
            if program.pid in self._stopped and program.poll() is None:
                program.kill()

    async def _gone(self, root: subprocess.Popen[bytes], started: float) -> None:
        while root.poll() is None or processes.members(self.journal_path):
            self._kill_stopped_programs()  # those that were stopped while it was ending, too
            for program in self._programs:
                program.poll()
            if time.monotonic() - started > PATIENCE:
                return await self._accuse(f"{PATIENCE} s after its end ({self.plan.ending}) there was still")
            await trio.sleep(TICK)

    def _judge_exit(self, code: int | None) -> None:
        """The root ends as it was told to, unless something was done to it itself."""
        if any(fault.victim == "root" for fault in self.plan.faults if fault.kind not in ("delay", "noise")):
            return
        if invariants.ended_by_libzmq(self.errors(), code):
            self.verdict.ended_by_libzmq = True
            return
        expected = {"leave": 0, "terminate": -signal.SIGTERM, "kill": -signal.SIGKILL}[self.plan.ending]
        if code != expected:
            self.verdict.wrong.append(f"the root ended with {code}, not {expected}")

    async def _again(self) -> None:
        """The next tree can start at once in the same place, and ends without a trace."""
        program = self._start("program", "-", self.registry)
        with trio.move_on_after(PATIENCE * 2):
            while program.poll() is None:
                await trio.sleep(TICK)
        if program.returncode != 0:
            self.verdict.wrong.append(f"the next start at {self.registry} failed: {program.returncode}")
        self.verdict.wrong += invariants.files(self.runtime_directory)

    def _look_back(self) -> None:
        self.journal.update()
        verdict, plan = self.verdict, self.plan
        verdict.wrong += invariants.outcomes(plan, self.journal)
        verdict.wrong += invariants.endings(self.journal)
        verdict.wrong += invariants.leftovers_in_root(self.journal)
        verdict.wrong += invariants.complaints(self.errors(), plan)
        verdict.actors = len(self.journal.of("hello"))
        verdict.outcomes = [entry.outcome for entry in self.journal.of("end")]

    async def _accuse(self, what: str) -> None:
        """Note it with the processes there are, after each was asked where it stands."""
        left = processes.members(self.journal_path)
        for pid in left:
            if pid not in self._stopped and any(entry.pid == pid for entry in self.journal.of("hello")):
                processes.send(pid, signal.SIGUSR2)
        await trio.sleep(0.5)
        self.verdict.wrong.append("\n    ".join([what, *(f"{pid}: {line}" for pid, line in left.items())]))

    # -- its programs ----------------------------------------------------------------------------------

    def errors(self) -> str:
        """All that the tree wrote to standard error."""
        path = self.directory / "errors"
        return path.read_text(errors="replace") if path.exists() else ""

    def _start(self, program: str, *arguments: str, end_by_input: bool = False) -> subprocess.Popen[bytes]:
        rest: Sequence[str] = () if self.key is None else (self.key,)
        with (self.directory / "errors").open("ab") as errors:
            started = subprocess.Popen(
                [sys.executable, "-m", f"{__package__}.{program}", *arguments, *rest],
                cwd=IMPORT_ROOT.parent if __package__.startswith("tests.") else IMPORT_ROOT,
                env={**os.environ, **self._environment()},
                stdin=subprocess.PIPE if end_by_input else subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
            )
        self._programs.append(started)
        return started

    def _environment(self) -> dict[str, str]:
        return {
            "XDG_RUNTIME_DIR": str(self.runtime_directory),
            VARIABLE: str(self.journal_path),
            "PYTHONWARNINGS": "always::ResourceWarning",
            "PYTHONPATH": os.pathsep.join(filter(None, [str(IMPORT_ROOT), os.environ.get("PYTHONPATH")])),
        }

    def _registry(self) -> str:
        scheme = self.plan.root.scheme
        if scheme in ("uds", "zmq+ipc"):
            return f"{scheme}://{self.runtime_directory}/registry.sock"
        return f"{scheme}://127.0.0.1:{_free_port()}"


def _free_port() -> int:
    """A port below the range from which the system picks, so that no connection takes it meanwhile."""
    # Of sixteen shares the one that the tests of this process have, where others run beside it.
    share = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 16
    while True:
        port = random.randrange(20_000 + share, 32_000, 16)
        if port in _chosen:
            continue  # for another tree at the same time, which may not listen there yet
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            _chosen.append(port)
            return port
