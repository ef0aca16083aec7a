"""Facts about processes, from the operating system."""

from __future__ import annotations

import os


def is_stopped(pid: int) -> bool:
    """Whether process ``pid`` is stopped, by a signal or by a tracer; False where that cannot be known."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            stat = file.read()
    except OSError:
        return False
    # The second field is the program's name in brackets, and may itself hold blanks and brackets.
    state = stat.rpartition(b")")[2].split()
    return bool(state) and state[0] in (b"T", b"t")


def cpu_count_usable() -> int:
    """How many processors this process may run on, at least 1."""
    try:
        return len(os.sched_getaffinity(0)) or 1
    except (AttributeError, OSError):
        return os.cpu_count() or 1
