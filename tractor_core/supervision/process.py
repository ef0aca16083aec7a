"""Facts about processes, from the operating system."""

from __future__ import annotations

import os


def is_stopped(pid: int) -> bool:
    """Whether process ``pid`` is stopped, by a signal or by a tracer; False where that cannot be known."""
    return _state(pid) in (b"T", b"t")


def is_halted(pid: int) -> bool:
    """Whether process ``pid`` is stopped by a signal, and not held by a debugger that will let it go on."""
    return _state(pid) == b"T"


def _state(pid: int) -> bytes:
    """The letter that ``/proc`` has for the state of a process; empty where there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            stat = file.read()
    except OSError:
        return b""
    # The second field is the program's name in brackets, and may itself hold blanks and brackets.
    fields = stat.rpartition(b")")[2].split()
    return fields[0] if fields else b""


def cpu_count_usable() -> int:
    """How many processors this process may run on, at least 1."""
    try:
        return len(os.sched_getaffinity(0)) or 1
    except (AttributeError, OSError):
        return os.cpu_count() or 1
