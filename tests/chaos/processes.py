"""The processes of one tree as the system shows them: found by what they inherited."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from .journal import VARIABLE


def members(journal: Path) -> dict[int, str]:
    """Every live process of the tree that writes to this journal, with its state and command line."""
    marker = f"{VARIABLE}={journal}\0".encode()
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        pid = int(name)
        with suppress(OSError):
            # One that only waits to be reaped has no environment.
            if marker in Path(f"/proc/{pid}/environ").read_bytes() + b"\0":
                found[pid] = f"state {state(pid)}, parent {parent(pid)}: {command(pid)}"
    return found


def state(pid: int) -> str:
    """The letter of a process's state (proc(5)); ``X`` where there is no such process."""
    fields = _fields(pid)
    return fields[0] if fields else "X"


def parent(pid: int) -> int:
    """0 where there is no such process."""
    fields = _fields(pid)
    return int(fields[1]) if fields else 0


def command(pid: int) -> str:
    """Its command line, shortened."""
    try:
        text = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return "(ended)"
    return " ".join(text.split())[-160:] or "(ended)"


def alive(pid: int) -> bool:
    """Whether it can still do anything, or could if it were continued."""
    return state(pid) not in "ZX"


def children(pid: int) -> list[int]:
    """All that the process started and has not reaped."""
    with suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def zombies(pid: int) -> list[int]:
    """Its children that have ended and wait to be reaped."""
    return [child for child in children(pid) if state(child) == "Z"]


def send(pid: int, number: signal.Signals) -> bool:
    """Signal a process; whether it was there."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _fields(pid: int) -> list[str]:
    """Of ``/proc/PID/stat``, what follows the name, which may hold anything."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (OSError, ValueError):
        return []
