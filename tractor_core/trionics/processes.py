"""Programs of others, supervised like tasks: what they fail of is raised, and none outlives its nursery."""

from __future__ import annotations

import math
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from functools import partial
from os import PathLike
from typing import Any, TypeAlias

import trio

from .groups import collapse_eg

StrPath: TypeAlias = "str | bytes | PathLike[str] | PathLike[bytes]"

#: How much of stderr an error repeats: lines, and characters of each.
LAST_LINES = 20
LINE_LENGTH = 1000


class _Tail:
    """Passes a program's stderr on to this one's, and keeps its end."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=LAST_LINES)
        self._unfinished = b""

    async def follow(self, stream: trio.abc.ReceiveStream) -> None:
        async with stream:
            async for data in stream:
                _pass_on(bytes(data))
                *whole, rest = (self._unfinished + data).split(b"\n")
                self._lines.extend(_readable(line) for line in whole)
                # A program that never ends its line must not grow this one.
                self._unfinished = rest[-4 * LINE_LENGTH :]

    def text(self) -> str:
        last = [_readable(self._unfinished)] if self._unfinished else []
        return "\n".join([*self._lines, *last][-LAST_LINES:])


def _readable(line: bytes) -> str:
    return line.decode(errors="replace").rstrip("\r")[:LINE_LENGTH]


def _pass_on(data: bytes) -> None:
    try:
        sys.stderr.write(data.decode(errors="replace"))
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        pass  # nobody reads this program's stderr, or it has none: no reason to end the other one


async def _terminate_then_kill(process: trio.Process, timeout: float) -> None:
    process.terminate()
    with trio.move_on_after(timeout):
        await process.wait()
        return
    process.kill()


async def supervise_run_process(
    command: str | StrPath | Sequence[StrPath],
    *,
    check: bool = True,
    terminate_timeout: float = 1.0,
    task_status: trio.TaskStatus[trio.Process] = trio.TASK_STATUS_IGNORED,
    **options: Any,
) -> int:
    """Run a program as a task: it ends with the task, and its failure is the task's. Returns the exit status.

    ``process = await nursery.start(partial(supervise_run_process, ["ffmpeg", ...]))`` hands over the
    ``trio.Process`` once it runs. An exit status other than 0 raises
    ``subprocess.CalledProcessError``, whose ``stderr`` and note have the last lines the program wrote
    there; it is passed on to ``sys.stderr`` as it comes. ``check=False`` returns the status instead,
    negative for a signal. When cancelled, the program gets SIGTERM, and SIGKILL if it is still there
    ``terminate_timeout`` seconds later; it is reaped before ``trio.Cancelled`` goes on.

    Other keywords are those of ``trio.run_process()`` (``cwd``, ``env``, ``stdin``, ...); a ``stderr`` given
    there is used as it is, and no error repeats it. ``OSError`` where the program cannot be started.
    """
    if not (terminate_timeout >= 0 and math.isfinite(terminate_timeout)):
        raise ValueError(f"terminate_timeout must be a finite number of seconds, not {terminate_timeout!r}")
    tail = _Tail() if options.get("stderr") is None and not options.get("capture_stderr") else None
    if tail is not None:
        options["stderr"] = subprocess.PIPE
    run = partial(
        trio.run_process,
        command,
        check=False,
        deliver_cancel=partial(_terminate_then_kill, timeout=terminate_timeout),
        **options,
    )
    status = await _run(run, tail, task_status)
    if check and status:
        raise _failed(command, status, tail)
    return status


async def _run(run: Any, tail: _Tail | None, task_status: trio.TaskStatus[trio.Process]) -> int:
    async with collapse_eg(), trio.open_nursery() as nursery:
        process: trio.Process = await nursery.start(run)
        task_status.started(process)
        if tail is not None:
            assert process.stderr is not None
            # Cancelled last of all, by the end of the program: what it says at its end is worth most.
            with trio.CancelScope(shield=True) as following:
                async with trio.open_nursery() as listeners:
                    listeners.start_soon(tail.follow, process.stderr)
                    await process.wait()
                    # Its own children may hold the pipe open for as long as they live.
                    following.deadline = trio.current_time() + 0.1
        await process.wait()
    assert process.returncode is not None
    return process.returncode


def _failed(
    command: str | StrPath | Sequence[StrPath], status: int, tail: _Tail | None
) -> subprocess.CalledProcessError:
    said = tail.text() if tail is not None else ""
    error = subprocess.CalledProcessError(status, command, stderr=said)
    if said:
        error.add_note(f"the last it wrote to stderr:\n{said}")
    return error
