"""Facts about processes, from the operating system."""

from __future__ import annotations

import os

#: Where the flags are in what :func:`_stat` returns, and the one that says that a process ends (``proc(5)``).
_FLAGS, _PF_EXITING = 6, 0x4


def is_stopped(pid: int) -> bool:
    """Whether process ``pid`` is stopped, by a signal or by a tracer; False where that cannot be known."""
    return _state(pid) in (b"T", b"t")


def is_halted(pid: int) -> bool:
    """Whether process ``pid`` is stopped by a signal, and not held by a debugger that will let it go on."""
    return _state(pid) == b"T"


def is_ending(pid: int) -> bool:
    """Whether process ``pid`` is on its way out, or gone; False where that cannot be known.

    Linux says so before it closes the first of its descriptors: a peer that sees them close finds it here.
    """
    fields = _stat(pid)
    if len(fields) > _FLAGS:
        return bool(int(fields[_FLAGS]) & _PF_EXITING)
    return os.path.exists("/proc/self/stat")


def _state(pid: int) -> bytes:
    """The letter that ``/proc`` has for the state of a process; empty where there is none."""
    fields = _stat(pid)
    return fields[0] if fields else b""


def _stat(pid: int) -> list[bytes]:
    """What ``/proc`` says of a process, from its state on; empty where there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            stat = file.read()
    except OSError:
        return []
    # The second field is the program's name in brackets, and may itself hold blanks and brackets.
    return stat.rpartition(b")")[2].split()


def cpu_count_usable() -> int:
    """How many processors this process may run on, at least 1."""
    try:
        return len(os.sched_getaffinity(0)) or 1
    except (AttributeError, OSError):
        return os.cpu_count() or 1
