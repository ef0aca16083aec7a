"""The standard library's spawn, but for what it would do with the program's main module."""

from __future__ import annotations

import fcntl
import io
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import popen_spawn_posix, reduction, resource_tracker, spawn
from multiprocessing.context import SpawnProcess, set_spawning_popen
from typing import Any

from .child import Inherited


class Popen(popen_spawn_posix.Popen):
    """Launches a process object as the spawn context does, with some differences.

    The child does not run the program's main module by itself: the actor's boot does that, once it
    watches its parent. Environment and directory are those asked for. What the child is to read is not
    written here, where writing could block. The sentinel is a pidfd where there are any: the stdlib's is a
    pipe, and a process that the child forked would hold its other end.
    """

    #: Set by _launch(), which the base class calls from its constructor.
    process: subprocess.Popen[bytes]
    #: What must be written to ``parent_end``.
    message: memoryview
    #: Kept open: the child takes its end of file for the death of this process.
    parent_end: int

    def __init__(self, process: SpawnProcess, *, env: Mapping[str, str] | None, cwd: str | None) -> None:
        self._env = env
        self._cwd = cwd
        super().__init__(process)

    def close(self) -> None:
        """Release the descriptors. Idempotent."""
        for name in ("parent_end", "sentinel"):
            number = self.__dict__.pop(name, None)
            if number is not None:
                os.close(number)

    def _launch(self, process: Any) -> None:
        tracker = resource_tracker.getfd()
        self._fds = [] if tracker is None else [tracker]
        self.message = self._pickle(process)
        try:
            child_end, self.parent_end = _pipe()
            try:
                self._fds.append(child_end)
                command = spawn.get_command_line(tracker_fd=tracker, pipe_handle=child_end)
                self._start([os.fsdecode(part) for part in command])
            finally:
                os.close(child_end)
        except BaseException:
            self.close()
            raise

    def _pickle(self, process: SpawnProcess) -> memoryview:
        preparation = spawn.get_preparation_data(process.name)
        preparation["sys_path"] = [os.path.abspath(path) for path in preparation["sys_path"]]
        # The process is started in its directory, and its main module is none of the preparation's business.
        for key in ("dir", "init_main_from_name", "init_main_from_path"):
            preparation.pop(key, None)
        pickled = io.BytesIO()
        set_spawning_popen(self)
        try:
            reduction.dump(preparation, pickled)
            reduction.dump(process, pickled)
        finally:
            set_spawning_popen(None)
        return pickled.getbuffer()

    def _start(self, command: list[str]) -> None:
        """Fork and exec, in this very thread: the kernel may tell the child when it ends."""
        watched: int | None = None
        if not hasattr(os, "pidfd_open"):
            self.sentinel, watched = _pipe()
            self._fds.append(watched)
        try:
            with _sigint_blocked():
                self.process = subprocess.Popen(command, pass_fds=self._fds, env=self._env, cwd=self._cwd)
        finally:
            if watched is not None:
                os.close(watched)
        self.pid = self.process.pid
        if watched is None:
            try:
                self.sentinel = os.pidfd_open(self.pid)
            except OSError:
                self.process.kill()
                self.process.wait()
                raise


class Process(SpawnProcess):
    """A process object that is launched by :class:`Popen`, and not by ``start()``.

    So it is not among ``multiprocessing.active_children()``, for which the interpreter waits at exit, in vain
    where a lifeline is what ends them.
    """

    def launch(self, *, env: Mapping[str, str] | None, cwd: str | None) -> Popen:
        """Start it; ``OSError`` where the system refuses."""
        return Popen(self, env=env, cwd=cwd)


@contextmanager
def inheritable(descriptors: Mapping[str, int]) -> Iterator[dict[str, Inherited]]:
    """The descriptors for pickling; copies of those that a child takes for its standard streams."""
    copies: list[int] = []
    found: dict[str, Inherited] = {}
    try:
        for name, number in descriptors.items():
            if number <= 2:
                number = fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 3)
                copies.append(number)
            found[name] = Inherited(number)
        yield found
    finally:
        for number in copies:
            os.close(number)


def _pipe() -> tuple[int, int]:
    """A pipe out of the way of 0, 1 and 2, which may be free here."""
    low = os.pipe()
    high: list[int] = []
    try:
        for end in low:
            high.append(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 3))
    except OSError:
        for end in high:
            os.close(end)
        raise
    finally:
        for end in low:
            os.close(end)
    return high[0], high[1]


@contextmanager
def _sigint_blocked() -> Iterator[None]:
    """The child inherits the mask, and unblocks SIGINT once it ignores it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
