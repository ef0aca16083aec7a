"""A process of the spawn context, waited for by its sentinel."""

from __future__ import annotations

import trio

from tractor_core.seams import ExitStatus

from .launch import Popen


class MultiprocessingActor:
    """An ``ActorProcess``. All methods belong to the thread that runs trio."""

    def __init__(self, popen: Popen) -> None:
        self.pid: int | None = popen.pid
        self._popen = popen
        #: One task at a time watches the sentinel; the others take over when it is cancelled.
        self._watching = trio.Lock()

    def __repr__(self) -> str:
        return f"<MultiprocessingActor pid={self.pid} {self._popen.process.returncode=}>"

    async def wait(self) -> ExitStatus:
        """Wait until it has ended and was reaped. Any number of waiters; cancellable."""
        await trio.lowlevel.checkpoint()
        try:
            while self.poll() is None:
                async with self._watching:
                    if self._popen.process.returncode is None:
                        await trio.lowlevel.wait_readable(self._popen.sentinel)
                if self.poll() is None:
                    # Where the sentinel is a pipe, it closes a little before there is a status.
                    await trio.sleep(0.002)
        finally:
            # Also when cancelled: the end may have been seen by poll() while this task watched.
            status = self.poll()
        assert status is not None
        return status

    def poll(self) -> ExitStatus | None:
        """How it ended, or None while it runs; reaps without waiting."""
        returncode = self._popen.process.poll()
        if returncode is None:
            return None
        if not self._watching.locked():
            # A task that still watches wakes at once, and comes here itself.
            self._popen.close()
        return ExitStatus.from_returncode(returncode)

    def terminate(self) -> None:
        """Send SIGTERM. No effect once it has ended."""
        if self.poll() is None:
            self._popen.process.terminate()

    def kill(self) -> None:
        """Send SIGKILL. No effect once it has ended."""
        if self.poll() is None:
            self._popen.process.kill()
