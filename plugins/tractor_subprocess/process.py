"""A process started by :mod:`subprocess`, waited for without threads where the system allows it."""

from __future__ import annotations

import math
import os
import subprocess

import trio

from tractor_core.seams import ExitStatus


class SubprocessActor:
    """An ``ActorProcess``. All methods belong to the thread that runs trio.

    Someone must call ``wait()`` or ``poll()`` until the end is seen, as with any child process. Where the
    program ignores SIGCHLD the system keeps no exit status, and every end reads as exit code 0.
    """

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self.pid: int | None = popen.pid
        self._popen = popen
        self._pidfd = _open_pidfd(popen.pid)
        #: One task at a time watches the descriptor; the others take over when it is cancelled.
        self._watching = trio.Lock()
        #: Threads, where there is no pidfd: abandoned ones must not use up trio's own limit.
        self._limiter = trio.CapacityLimiter(math.inf)

    def __repr__(self) -> str:
        return f"<SubprocessActor pid={self.pid} {self._popen.returncode=}>"

    async def wait(self) -> ExitStatus:
        """Wait until it has ended and was reaped. Any number of waiters; cancellable."""
        await trio.lowlevel.checkpoint()
        try:
            while self.poll() is None:
                async with self._watching:
                    if self._popen.returncode is None:
                        await self._watch()
        finally:
            # Also when cancelled: the end may have been seen by poll() while this task watched.
            status = self.poll()
        assert status is not None
        return status

    def poll(self) -> ExitStatus | None:
        """How it ended, or None while it runs; reaps without waiting."""
        returncode = self._popen.poll()
        if returncode is None:
            return None
        self._release()
        return ExitStatus.from_returncode(returncode)

    def terminate(self) -> None:
        """Send SIGTERM. No effect once it has ended."""
        if self.poll() is None:
            self._popen.terminate()

    def kill(self) -> None:
        """Send SIGKILL. No effect once it has ended."""
        if self.poll() is None:
            self._popen.kill()

    async def _watch(self) -> None:
        if self._pidfd is None:
            await trio.to_thread.run_sync(self._popen.wait, abandon_on_cancel=True, limiter=self._limiter)
            return
        await trio.lowlevel.wait_readable(self._pidfd)

    def _release(self) -> None:
        """Close the pidfd, unless a task still watches it: that task wakes at once and comes here itself."""
        if self._pidfd is not None and not self._watching.locked():
            os.close(self._pidfd)
            self._pidfd = None


def _open_pidfd(pid: int) -> int | None:
    """None where there are none (other systems, old kernels) or none are left: a thread waits then."""
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None
