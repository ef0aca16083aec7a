"""When libzmq's threads have moved all that they can: nothing tells, but then every thread is asleep."""

from __future__ import annotations

import os
import threading
from pathlib import Path

#: Looks in a row that have to find everybody asleep, and the pause between two of them (seconds). A heartbeat
#: wakes a thread for microseconds; one that has work and waits for a processor counts as awake.
LOOKS, PAUSE = 10, 0.01


class Quiet:
    """Counts looks at some processes and at the other threads of this one."""

    def __init__(self, *pids: int) -> None:
        self._pids = (*pids, os.getpid())
        self._in_a_row = 0

    def look(self) -> bool:
        """Look once more; whether nobody has moved for a while."""
        self._in_a_row = self._in_a_row + 1 if all(map(_sleeps, self._pids)) else 0
        return self._in_a_row >= LOOKS


def _sleeps(pid: int) -> bool:
    """Whether every thread of a process waits for something, but for the one that asks."""
    tasks = [
        task for task in Path(f"/proc/{pid}/task").iterdir() if task.name != str(threading.get_native_id())
    ]
    return all(_state(task) in "SZX" for task in tasks)


def _state(task: Path) -> str:
    try:
        return (task / "stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"  # it ended meanwhile
