"""Where every task of a process waits, on SIGUSR2: the last thing asked of one that does not end."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from types import FrameType
from typing import Any

import trio


def show_tasks_on_signal() -> None:
    """Print all tasks and threads to standard error on SIGUSR2. In the main thread only; idempotent."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGUSR2, _show)


def _show(signum: int, frame: FrameType | None) -> None:
    lines = [f"-- tasks of process {os.getpid()}\n"]
    root = trio.lowlevel.current_root_task()
    if root is not None:
        lines += _tasks(root, 0)
    for ident, top in sys._current_frames().items():
        lines += [f"-- thread {ident}\n", *traceback.format_stack(top)[-6:]]
    os.write(2, "".join(lines).encode(errors="replace"))


def _tasks(task: trio.lowlevel.Task, depth: int) -> Iterator[str]:
    margin = "  " * depth
    yield f"{margin}task {task.name}\n"
    for place in _places(task.coro):
        yield f"{margin}  {place}\n"
    for nursery in task.child_nurseries:
        for child in nursery.child_tasks:
            yield from _tasks(child, depth + 1)


def _places(awaited: Any) -> Iterator[str]:
    """Where a coroutine is, and what it awaits, down to the trap."""
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "ag_frame", None)
        if frame is not None:
            yield f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_name}"
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "ag_await", None)
