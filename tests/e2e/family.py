"""Which actors this process has started, by whatever backend."""

from __future__ import annotations

import os
from pathlib import Path

#: In the command lines of what backends keep for as long as the run: the template that forks actors, and
#: the standard library's resource tracker.
TEMPLATE, TRACKER = "tractor_forkserver.template", "multiprocessing.resource_tracker"


def actors() -> list[int]:
    """The processes that this one, or a template of its, has started and that are not reaped."""
    found = []
    for pid in _children(os.getpid()):
        command = _command(pid)
        if TEMPLATE in command:
            found += _children(pid)
        elif TRACKER not in command:
            found.append(pid)
    return found


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
