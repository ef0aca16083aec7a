"""What the signals that end programs do to an actor: in the root they drain it, in children they do not."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from types import FrameType
from typing import Any, Final, NoReturn

import msgspec
import trio

#: A repetition within this many seconds of the first is the same request: some senders (``timeout``,
#: a terminal together with a supervisor) signal the process and its group.
REPETITION_WINDOW: Final = 0.25


class DrainRequest(msgspec.Struct):
    """What :func:`drain_on_signals` yields: ``signum`` is the first signal that came, None while none has."""

    signum: int | None = None
    received_at: float = 0.0


@asynccontextmanager
async def drain_on_signals(
    cancel: Callable[[int], object], signals: Sequence[int] = (signal.SIGTERM,)
) -> AsyncIterator[DrainRequest]:
    """While inside, the first of ``signals`` calls ``cancel(signum)`` in the trio loop.

    The next one, of any of them, ends the process on the spot.

    Does nothing unless this is the main thread, and leaves a signal alone whose disposition somebody
    changed.
    SIGINT, where listed, is taken over from Python's and from trio's own handler. Leaving restores
    what was there before; the caller then unwinds, and :func:`reraise` makes the exit status right::

        async with drain_on_signals(lambda signum: scope.cancel()) as drain:
            ...
        if drain.signum is not None:
            reraise(drain.signum)
    """
    request = DrainRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    token = trio.lowlevel.current_trio_token()

    def handler(signum: int, frame: FrameType | None) -> None:
        if request.signum is not None:
            if time.monotonic() - request.received_at > REPETITION_WINDOW:
                _end_by_signal(signum)
            return
        request.signum = signum
        request.received_at = time.monotonic()
        try:
            token.run_sync_soon(cancel, signum)
        except trio.RunFinishedError:
            _end_by_signal(signum)

    previous: dict[int, Any] = {}
    try:
        for number in signals:
            if _is_default(signal.getsignal(number)):
                previous[number] = signal.signal(number, handler)
        yield request
    finally:
        for number, disposition in previous.items():
            if signal.getsignal(number) is handler:
                signal.signal(number, disposition)


def reraise(signum: int) -> NoReturn:
    """End this process by ``signum``, so that whoever waits for it sees that.

    Buffered standard output is flushed; nothing else of Python's own shutdown happens. Where the system
    does not end the process (it is process 1 of a container, say), ``SystemExit`` with 128 + signum. Main
    thread only.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass  # closed, or None in a program without a console
    _send_to_self(signum)
    raise SystemExit(128 + signum)


def _end_by_signal(signum: int) -> NoReturn:
    """The hard path: from within a signal handler, waiting for nothing and nobody."""
    _send_to_self(signum)
    os._exit(128 + signum)


def _send_to_self(signum: int) -> None:
    signal.signal(signum, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signum,))
    os.kill(os.getpid(), signum)


def ignore_terminal_signals() -> None:
    """Set up the signals of a spawned actor; main thread only.

    A terminal sends SIGINT to parents and children alike, and what it means is for the root to decide.
    SIGTERM keeps the system's default, which ends even an actor that is busy in synchronous code; a
    graceful end comes as a message. A broken pipe is an error as in all Python programs, and no signal.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    # The spawner may have started this process with SIGINT blocked, until it could be ignored.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))


def _is_default(disposition: Any) -> bool:
    """Whether nobody has changed it: the system's default, Python's SIGINT, or trio's version of that."""
    return (
        disposition is signal.SIG_DFL
        or disposition is signal.default_int_handler
        or getattr(disposition, "__module__", None) == "trio._core._ki"
    )
