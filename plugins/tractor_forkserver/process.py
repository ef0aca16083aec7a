"""A forked actor, seen from its owner: not a child of this process, but held by a pidfd."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import time
from typing import Final, Protocol

import trio

from tractor_core.seams import ExitStatus

#: How long a report may take once its process has ended (seconds). The template is then woken, then given up.
REPORT_TIMEOUT: Final = 0.5

#: How long init may take to reap an orphan (seconds); only then does the kernel tell how it ended.
REAPING_TIME: Final = 0.2

# <linux/pidfd.h>: the size of the structure, the request, the bit that asks, where the wait status is.
_INFO_SIZE: Final = 64
_PIDFD_GET_INFO: Final = (3 << 30) | (_INFO_SIZE << 16) | (0xFF << 8) | 11
_PIDFD_INFO_EXIT: Final = 1 << 3
_EXIT_CODE_OFFSET: Final = 60


class Reporter(Protocol):
    """What a forked actor needs of its template."""

    @property
    def over(self) -> bool:
        """Whether it has gone, and reports nothing more."""
        ...

    def drain(self) -> None:
        """Take all reports that have arrived."""
        ...

    def wake(self) -> None:
        """Let it go on if it is stopped."""
        ...

    def end(self) -> None:
        """Give it up."""
        ...


class ForkedActor:
    """An ``ActorProcess``. All methods belong to the thread that runs trio.

    The template reaps it and reports how it ended. Where the template died before it, the kernel is asked
    (Linux 6.15 tells); failing that the status is unknown: ``ExitStatus()`` with neither code nor signal.
    """

    def __init__(self, pid: int, pidfd: int, template: Reporter) -> None:
        self.pid: int | None = pid
        self._pidfd: int | None = pidfd
        self._template = template
        self._status: ExitStatus | None = None
        #: Set when the report is there, or when none will come.
        self._settled = trio.Event()
        #: One task at a time watches the descriptor; the others take over when it is cancelled.
        self._watching = trio.Lock()
        self._seen_ended: float | None = None

    def __repr__(self) -> str:
        return f"<ForkedActor pid={self.pid} {self._status}>"

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
        """How it ended, or None while it runs; never waits."""
        if self._status is None:
            self._template.drain()
        if self._status is None and self._template.over:
            self._status = self._status_of_orphan()
        if self._status is not None:
            self._release()
        return self._status

    def terminate(self) -> None:
        """Send SIGTERM. No effect once it has ended."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL. No effect once it has ended."""
        self._send(signal.SIGKILL)

    def reported(self, status: int) -> None:
        """The template reaped it."""
        self._status = ExitStatus.from_returncode(os.waitstatus_to_exitcode(status))
        self._settled.set()

    def abandoned(self) -> None:
        """The template is gone: whatever it did not report, it will not."""
        self._settled.set()

    def _send(self, number: signal.Signals) -> None:
        if self.poll() is None and self._pidfd is not None:
            try:
                signal.pidfd_send_signal(self._pidfd, number)
            except ProcessLookupError:
                pass  # ended a moment ago

    async def _watch(self) -> None:
        assert self._pidfd is not None
        await trio.lowlevel.wait_readable(self._pidfd)
        for remedy in (self._template.wake, self._template.end):
            with trio.move_on_after(REPORT_TIMEOUT):
                await self._settled.wait()
                break
            remedy()
        if self._status is None:
            await trio.sleep(0.01)  # an orphan now: poll() asks the kernel until it knows or gives up

    def _status_of_orphan(self) -> ExitStatus | None:
        """How it ended, by the kernel's account; None while it runs."""
        assert self._pidfd is not None
        poller = select.poll()
        poller.register(self._pidfd, select.POLLIN)
        if not poller.poll(0):
            return None
        status = _reap_adopted(self._pidfd) or _exit_info(self._pidfd)
        if status is not None:
            return status
        now = time.monotonic()
        self._seen_ended = self._seen_ended or now
        return ExitStatus() if now - self._seen_ended > REAPING_TIME else None

    def _release(self) -> None:
        """Close the pidfd, unless a task still watches it: that task wakes at once and comes here itself."""
        if self._pidfd is not None and not self._watching.locked():
            os.close(self._pidfd)
            self._pidfd = None


def _reap_adopted(pidfd: int) -> ExitStatus | None:
    """Orphans come to whoever is process 1, or asked to be a reaper; that may be this very process."""
    try:
        result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
    except OSError:
        return None
    if result is None:
        return None
    if result.si_code == os.CLD_EXITED:
        return ExitStatus(code=result.si_status)
    return ExitStatus(signal=result.si_status)


def _exit_info(pidfd: int) -> ExitStatus | None:
    """How a process that somebody else has reaped ended; None on a kernel that does not tell."""
    info = bytearray(_INFO_SIZE)
    struct.pack_into("=Q", info, 0, _PIDFD_INFO_EXIT)
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, info, True)
    except OSError:
        return None
    (mask,) = struct.unpack_from("=Q", info, 0)
    if not mask & _PIDFD_INFO_EXIT:
        return None
    (status,) = struct.unpack_from("=i", info, _EXIT_CODE_OFFSET)
    return ExitStatus.from_returncode(os.waitstatus_to_exitcode(status))
