"""What a test must give back: processes, descriptors, threads, signal handlers, files.

A census is taken before and after each test; what is new and has not gone within a moment is a leak.
"""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

#: How long the end of a test may take to settle (seconds): by promise orphans end within two seconds, on a
#: busy machine a little later, and init reaps them in its own time.
SETTLING_TIME = 5.0

#: Opened once and kept, by the interpreter or its libraries.
KEPT_DESCRIPTORS = ("/dev/urandom", "/dev/null")

#: A lock file outlives its holder on purpose: removing it would race with the next one to lock it.
KEPT_SUFFIXES = (".lock",)


@dataclass(frozen=True)
class Census:
    """Everything a test could leave behind, as it is at one moment."""

    processes: Mapping[int, str]
    descriptors: Mapping[int, str]
    threads: frozenset[str]
    handlers: Mapping[signal.Signals, object]
    files: frozenset[str]
    directory: str

    @classmethod
    def take(cls, session: Path) -> Census:
        return cls(
            processes=live_processes(session),
            descriptors=open_descriptors(),
            threads=frozenset(
                f"{thread.name} ({thread.ident})" for thread in threading.enumerate() if not thread.daemon
            ),
            handlers={number: signal.getsignal(number) for number in WATCHED_SIGNALS},
            files=frozenset(runtime_files(session)),
            directory=os.getcwd(),
        )


@dataclass
class Leaks:
    """The difference between two censuses."""

    processes: dict[int, str] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)

    @classmethod
    def between(cls, before: Census, after: Census) -> Leaks:
        leaks = cls({pid: title for pid, title in after.processes.items() if pid not in before.processes})
        for number, target in after.descriptors.items():
            if before.descriptors.get(number) != target and not target.startswith(KEPT_DESCRIPTORS):
                leaks.others.append(f"descriptor {number} -> {target}")
        leaks.others += [f"thread {name}" for name in sorted(after.threads - before.threads)]
        leaks.others += [f"file {name}" for name in sorted(after.files - before.files)]
        for number, handler in after.handlers.items():
            if handler != before.handlers[number]:
                leaks.others.append(f"handler of {number.name}: {handler!r}, was {before.handlers[number]!r}")
        if after.directory != before.directory:
            leaks.others.append(f"working directory {after.directory}, was {before.directory}")
        return leaks

    def __bool__(self) -> bool:
        return bool(self.processes or self.others)

    def __str__(self) -> str:
        lines = [f"process {pid}: {title}" for pid, title in self.processes.items()]
        return "\n".join(f"  {line}" for line in [*lines, *self.others])


WATCHED_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1)


def settled_leaks(before: Census, session: Path) -> Leaks:
    """What is new since ``before``, once things had :data:`SETTLING_TIME` to settle."""
    deadline = time.monotonic() + SETTLING_TIME
    leaks = Leaks.between(before, Census.take(session))
    while leaks and time.monotonic() < deadline:
        # What only a reference cycle keeps open is closed here, and its ResourceWarning fails the test.
        gc.collect()
        time.sleep(0.02)
        leaks = Leaks.between(before, Census.take(session))
    return leaks


def end_processes(processes: Mapping[int, str]) -> None:
    """Kill what a test left running, so that it cannot disturb the next one."""
    for pid in processes:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        try:
            os.waitpid(pid, 0)
        except ChildProcessError:
            pass  # a grandchild: init reaps it


def live_processes(session: Path) -> dict[int, str]:
    """Children of this process and every process that inherited this session's environment.

    The environment, which names directories in ``session``, finds those that a dead parent orphaned;
    children are found in any case, also as zombies, which have no environment.
    """
    found = {}
    own, marker = os.getpid(), f"={session}/".encode()
    for pid in process_ids():
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
            # The name may hold spaces and brackets; the fields proper start after the last one.
            state, parent = stat.rpartition(")")[2].split()[:2]
            if pid == own or (int(parent) != own and marker not in Path(f"/proc/{pid}/environ").read_bytes()):
                continue
            arguments = (
                Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            )
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # gone meanwhile, or another user's
        found[pid] = f"state {state}, parent {parent}: {arguments.strip() or '(ended)'}"
    return found


def process_ids() -> Iterator[int]:
    """Every process of this machine; none where there is no ``/proc``."""
    if os.path.isdir("/proc/self"):
        yield from (int(name) for name in os.listdir("/proc") if name.isdigit())


def open_descriptors() -> dict[int, str]:
    """The open descriptors of this process and what they lead to; empty without ``/proc``."""
    found = {}
    if os.path.isdir("/proc/self/fd"):
        for number in os.listdir("/proc/self/fd"):
            try:
                found[int(number)] = os.readlink(f"/proc/self/fd/{number}")
            except FileNotFoundError:
                continue  # the one that listed the directory
    return found


def runtime_files(session: Path) -> Iterator[str]:
    """Every file in the runtime directory of this session, and in those made for want of one."""
    for root in (session / "run", *(session / "tmp").glob("tractor-core-*")):
        for directory, _, names in os.walk(root):
            yield from (os.path.join(directory, name) for name in names if not name.endswith(KEPT_SUFFIXES))
