"""What this process holds, and what it costs: descriptors, threads, processes, memory."""

from __future__ import annotations

import gc
import os
import threading
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import trio

#: Seconds that what has ended may take to be let go.
SETTLING = 2.0

#: In the command lines of processes that serve more than one actor: the template of a forkserver, and what
#: ``multiprocessing`` keeps for as long as this process lives.
TEMPLATE, TRACKER = "tractor_forkserver", "resource_tracker"


def held() -> dict[str, int]:
    """Descriptors by kind, threads, and children by what they are, also those that nobody reaped."""
    gc.collect()
    counts: Counter[str] = Counter()
    for number in os.listdir("/proc/self/fd"):
        try:
            counts[os.readlink(f"/proc/self/fd/{number}").partition(":")[0]] += 1
        except FileNotFoundError:
            continue  # the one that listed the directory
    # Trio keeps its worker threads for a while; they end in their own time.
    counts["threads"] = sum(not thread.name.startswith("Trio thread") for thread in threading.enumerate())
    for child in children():
        if state(child) == "Z":
            counts["zombies"] += 1
        else:
            counts["templates" if is_template(child) else "trackers" if is_tracker(child) else "actors"] += 1
    return {what: many for what, many in counts.items() if many}


async def settled(expected: dict[str, int]) -> dict[str, int]:
    """What is held, once that is as expected or had its time to become so."""
    deadline = trio.current_time() + SETTLING
    while (now := held()) != expected and trio.current_time() < deadline:
        await trio.sleep(0.05)
    return now


def children() -> list[int]:
    """All that this process started and has not reaped."""
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


def state(pid: int) -> str:
    """The letter of a process's state (proc(5)); ``X`` where there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def is_template(pid: int) -> bool:
    """Whether a child of this process is the template of a forkserver."""
    return TEMPLATE in _command(pid)


def is_tracker(pid: int) -> bool:
    """Whether a child of this process is the resource tracker of ``multiprocessing``."""
    return TRACKER in _command(pid)


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def resident(pid: int | str = "self") -> int:
    """The memory a process uses, shared or not (bytes)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def proportional(pids: Iterable[int]) -> int:
    """The memory that processes use, what they share counted once (bytes); of those that still run."""
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total
