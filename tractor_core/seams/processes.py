"""A child process waited for without threads, where the system allows it; for any spawn backend."""

from __future__ import annotations

import math
import os
import signal

import trio

from .spawn import ExitStatus


class ChildProcess:
    """An ``ActorProcess`` for a child of this process that nobody else reaps, known by its process id.

    All methods belong to the thread that runs trio. Someone must call ``wait()`` or ``poll()`` until the end
    is seen, as with any child process. Where the program ignores SIGCHLD, or somebody else reaped it, the
    system keeps no exit status, and neither does this: ``ExitStatus()``.
    """

    def __init__(self, pid: int) -> None:
        self.pid: int | None = pid
        self._child = pid
        self._status: ExitStatus | None = None
        self._pidfd = _open_pidfd(pid)
        #: One task at a time watches the descriptor; the others take over when it is cancelled.
        self._watching = trio.Lock()
        #: Threads, where there is no pidfd: abandoned ones must not use up trio's own limit.
        self._limiter = trio.CapacityLimiter(math.inf)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} pid={self.pid} {self._status or 'running'}>"

    async def wait(self) -> ExitStatus:
        """Wait until it has ended and was reaped. Any number of waiters; cancellable."""
        await trio.lowlevel.checkpoint()
        try:
            while self.poll() is None:
                async with self._watching:
                    if self._status is None:
                        await self._watch()
        finally:
            # Also when cancelled: the end may have been seen by poll() while this task watched.
            status = self.poll()
        assert status is not None
        return status

    def poll(self) -> ExitStatus | None:
        """How it ended, or None while it runs; reaps without waiting."""
        if self._status is None:
            try:
                pid, status = os.waitpid(self._child, os.WNOHANG)
            except ChildProcessError:
                self._status = ExitStatus()
            else:
                if pid == 0:
                    return None
                self._status = ExitStatus.from_returncode(os.waitstatus_to_exitcode(status))
        self._release()
        return self._status

    def terminate(self) -> None:
        """Send SIGTERM. No effect once it has ended."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL. No effect once it has ended."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        # Not reaped yet, so that the number cannot have become another process's.
        if self.poll() is None:
            os.kill(self._child, number)

    async def _watch(self) -> None:
        if self._pidfd is None:
            await trio.to_thread.run_sync(
                _wait_for_exit, self._child, abandon_on_cancel=True, limiter=self._limiter
            )
            return
        await trio.lowlevel.wait_readable(self._pidfd)

    def _release(self) -> None:
        """Close the pidfd, unless a task still watches it: that task wakes at once and comes here itself."""
        if self._pidfd is not None and not self._watching.locked():
            os.close(self._pidfd)
            self._pidfd = None


def _wait_for_exit(pid: int) -> None:
    """Wait for the end and leave the status where it is: an abandoned thread must not reap."""
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    except ChildProcessError:
        pass  # reaped meanwhile


def _open_pidfd(pid: int) -> int | None:
    """None where there are none (other systems, old kernels) or none are left: a thread waits then."""
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None
