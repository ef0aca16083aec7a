"""Capturing all that a child writes to descriptor 2, where that was asked for: C code's last words too.

A pipe takes the place of the child's standard error. A thread of the parent passes on what comes, to the
parent's own, and records it. A thread and not the event loop: a loop that is busy and a terminal that takes
nothing must not hold each other up. The price is the pipe itself: while the parent is stopped, a child that
has filled it waits.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from typing import Final

import trio

from .last_words import LastWords, Ring

#: Name of the descriptor that becomes the child's standard error.
STDERR: Final = "stderr"

#: How long reading what an ended child has left in the pipe may take (seconds).
SETTLE_TIMEOUT: Final = 0.2

_PIECE: Final = 1 << 16


class StderrCapture:
    """The parent's end. Belongs to the thread that runs trio; ``OSError`` without descriptors."""

    def __init__(self, words: LastWords) -> None:
        read_end, write_end = os.pipe()
        stopped, stop = os.pipe()
        self._write_end: int | None = write_end
        self._stop: int | None = stop
        os.set_blocking(read_end, False)
        self._drained = trio.Event()
        self._token = trio.lowlevel.current_trio_token()
        threading.Thread(
            target=_forward,
            # The thread outlives the child by a moment: what it works on is its own.
            args=(read_end, stopped, _own_stderr(), os.dup(words.descriptor), self._report),
            name="tractor-stderr",
            daemon=True,
        ).start()

    @property
    def write_end(self) -> int:
        """What the child inherits as :data:`STDERR`."""
        if self._write_end is None:
            raise RuntimeError("the child was already spawned")
        return self._write_end

    def spawned(self) -> None:
        """Close this process's own copy of the write end. Idempotent."""
        if self._write_end is not None:
            os.close(self._write_end)
            self._write_end = None

    async def settle(self) -> None:
        """Once the child has ended: take what is in the pipe, for at most :data:`SETTLE_TIMEOUT`."""
        self.close()
        with trio.move_on_after(SETTLE_TIMEOUT):
            await self._drained.wait()

    def close(self) -> None:
        """Let the thread take what is there and end; returns at once. Idempotent.

        Whatever still has the pipe's other end then, a process that the child left behind, writes in vain.
        """
        self.spawned()
        if self._stop is not None:
            os.close(self._stop)
            self._stop = None

    def _report(self) -> None:
        try:
            self._token.run_sync_soon(self._drained.set)
        except trio.RunFinishedError:
            pass  # nobody waits any more


def redirect_stderr(descriptor: int) -> Callable[[], None]:
    """In the child: make ``descriptor``, a pipe, its standard error; returns what undoes that, once.

    To be undone when the parent is gone: what an actor says while it unwinds must not fail for that. Until
    then this process keeps a read end of its own, so that no write ever finds the pipe broken.
    """
    before, read_end = _own_stderr(), _own_read_end(descriptor)
    os.dup2(descriptor, 2)
    os.close(descriptor)

    def undo() -> None:
        if before is not None:
            os.dup2(before, 2)
        for number in (before, read_end):
            if number is not None:
                os.close(number)

    return undo


def _forward(read_end: int, stopped: int, output: int | None, words: int, report: Callable[[], None]) -> None:
    """The thread: record and pass on, until told to stop or nobody can write any more."""
    poll = select.poll()
    poll.register(read_end, select.POLLIN)
    poll.register(stopped, 0)
    ring = Ring(words)
    try:
        over = False
        while not over:
            # Told to stop, it still takes what has come by then.
            over = any(number == stopped for number, _ in poll.poll())
            while data := _read(read_end):
                ring.add(data)
                output = _pass_on(output, data)
            over = over or data == b""
    finally:
        report()
        for number in (read_end, stopped, words, output):
            if number is not None:
                os.close(number)


def _read(descriptor: int) -> bytes | None:
    """What has come: None for nothing yet, empty at the end of file."""
    try:
        return os.read(descriptor, _PIECE)
    except BlockingIOError:
        return None


def _pass_on(output: int | None, data: bytes) -> int | None:
    """Write all of it; returns where to write next, None once that is gone."""
    if output is None:
        return None
    rest = memoryview(data)
    poll = select.poll()
    poll.register(output, select.POLLOUT)
    while rest:
        try:
            rest = rest[os.write(output, rest) :]
        except BlockingIOError:
            poll.poll()
        except OSError:
            os.close(output)
            return None
    return output


def _own_read_end(pipe: int) -> int | None:
    """Another read end of the pipe, for its write end; None where the system has no way to get one."""
    try:
        return os.open(f"/proc/self/fd/{pipe}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None


def _own_stderr() -> int | None:
    """A copy of descriptor 2; None where this process has none."""
    try:
        return os.dup(2)
    except OSError:
        return None
