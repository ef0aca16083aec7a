"""The owner's side of a template: starts it, asks it to fork, takes its reports, ends it."""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import trio

from .messages import (
    ENDED,
    FAILED,
    FORKED,
    MESSAGE_SIZE,
    REFUSED,
    Settings,
    pack_request,
    pack_settings,
    receive,
    unpack_answer,
)
from .process import ForkedActor

#: Requests on their way at a time: the kernel limits how many descriptors a user may have in flight.
MOST_PENDING: Final = 8

#: How often a template that does not answer is woken, in case that it was stopped (seconds).
WAKE_INTERVAL: Final = 1.0

#: How long a cancelled request waits for its answer, so as to end the process itself (seconds).
WITHDRAW_TIMEOUT: Final = 0.5

_LAUNCHER = """\
import marshal, socket, sys
control = socket.socket(fileno={descriptor})
settings = marshal.loads(control.recv({size}))
sys.path[:] = settings["search_path"]
from tractor_forkserver.template import main
sys.exit(main(control, settings))
"""


class TemplateEnded(Exception):
    """The template is gone; no process came of the request."""


class _Pending:
    """One request: what came of it, None where the template ended first."""

    def __init__(self) -> None:
        self.answered = trio.Event()
        self.outcome: ForkedActor | OSError | None = None

    def answer(self, outcome: ForkedActor | OSError | None) -> None:
        self.outcome = outcome
        self.answered.set()


class Template:
    """A template process of this trio run. All methods belong to its thread.

    A system task reads its reports; when the run ends, that task ends the template. Actors that it
    forked live on without it.
    """

    def __init__(self, settings: Settings) -> None:
        """Start the process; it imports while requests wait. ``OSError`` where the system refuses."""
        self.over = False
        #: Why it could not be set up, by its own account.
        self.failure: str | None = None
        self._slots = trio.Semaphore(MOST_PENDING)
        self._keys = itertools.count(1)
        self._pending: dict[int, _Pending] = {}
        self._actors: dict[int, ForkedActor] = {}
        self._control, self._popen = _start(settings)
        trio.lowlevel.spawn_system_task(self._read, name=f"forkserver template {self._popen.pid}")

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def in_use(self) -> bool:
        """Whether an actor of it is alive or on its way."""
        return bool(self._actors or self._pending)

    async def fork(self, standard: int, descriptors: Sequence[int]) -> ForkedActor:
        """Ask for a new process with these descriptors.

        ``TemplateEnded`` where there will be none; ``OSError`` where the system refuses. Cancelled, it
        ends what it asked for.
        """
        async with self._slots:
            if self.over:
                raise TemplateEnded
            key = next(self._keys)
            pending = self._pending[key] = _Pending()
            try:
                try:
                    socket.send_fds(self._control, [pack_request(key, standard)], descriptors)
                except ConnectionError:
                    self.drain()
                    self.end()
                try:
                    await self._answered(pending)
                except trio.Cancelled:
                    await self._withdraw(pending)
                    raise
            finally:
                self._pending.pop(key, None)
        if isinstance(pending.outcome, OSError):
            raise pending.outcome
        if pending.outcome is None:
            raise TemplateEnded
        return pending.outcome

    async def _answered(self, pending: _Pending) -> None:
        while not pending.answered.is_set():
            with trio.move_on_after(WAKE_INTERVAL):
                await pending.answered.wait()
                return
            self.wake()

    async def _withdraw(self, pending: _Pending) -> None:
        """End the process that was asked for. One that comes later finds its pipe closed, and is killed."""
        with trio.CancelScope(shield=True):
            with trio.move_on_after(WITHDRAW_TIMEOUT):
                await pending.answered.wait()
            if isinstance(pending.outcome, ForkedActor):
                pending.outcome.kill()
                await pending.outcome.wait()

    def drain(self) -> None:
        """Take all reports that have arrived."""
        while not self.over:
            try:
                data, descriptors = receive(self._control, 1)
            except BlockingIOError:
                return
            except ConnectionResetError:
                continue  # said once, before what it had sent: it ended without having read all requests
            if not data:
                self.end()
                return
            self._take(data, descriptors)

    def _take(self, data: bytes, descriptors: list[int]) -> None:
        kind, key, value, text = unpack_answer(data)
        if kind == FORKED:
            self._forked(self._pending.get(key), value, descriptors)
        elif kind == REFUSED:
            if key in self._pending:
                self._pending[key].answer(OSError(value, os.strerror(value)))
        elif kind == ENDED:
            actor = self._actors.pop(key, None)
            if actor is not None:
                actor.reported(value)
        elif kind == FAILED:
            self.failure = text

    def _forked(self, pending: _Pending | None, pid: int, descriptors: list[int]) -> None:
        if not descriptors:
            # The limit of open files: a process that cannot be held is of no use. Its pipe ends it.
            if pending is not None:
                pending.answer(OSError(errno.EMFILE, os.strerror(errno.EMFILE)))
            return
        (pidfd,) = descriptors
        if pending is None:
            # The request was cancelled.
            try:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            except ProcessLookupError:
                pass  # it found its pipe closed, and ended by itself
            os.close(pidfd)
            return
        actor = self._actors[pid] = ForkedActor(pid, pidfd, self)
        pending.answer(actor)

    def wake(self) -> None:
        """Let it go on if it is stopped."""
        if not self.over:
            self._popen.send_signal(signal.SIGCONT)

    def end(self) -> None:
        """Kill and reap it, and tell everybody who waits for it. Idempotent."""
        if self.over:
            return
        self.over = True
        trio.lowlevel.notify_closing(self._control)
        self._control.close()
        self._popen.kill()
        self._popen.wait()
        for pending in self._pending.values():
            pending.answer(None)
        for actor in self._actors.values():
            actor.abandoned()
        self._actors.clear()

    async def _read(self) -> None:
        try:
            while not self.over:
                await trio.lowlevel.wait_readable(self._control)
                self.drain()
        except trio.ClosedResourceError:
            pass  # end() was called elsewhere
        finally:
            self.end()


def _start(settings: Settings) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Fork and exec, in this very thread: when it ends, the kernel ends the template."""
    if not sys.executable:
        raise RuntimeError("sys.executable is empty: no interpreter to start actors with")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        ours.setblocking(False)
        ours.send(pack_settings(settings))
        # The standard library's own notion of "the same flags", the one multiprocessing uses.
        flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
        # Out of the way of 0, 1 and 2, which may be free here.
        inherited = fcntl.fcntl(theirs, fcntl.F_DUPFD_CLOEXEC, 3)
        try:
            launcher = _LAUNCHER.format(descriptor=inherited, size=MESSAGE_SIZE)
            with _sigint_blocked():
                popen = subprocess.Popen(
                    [sys.executable, *flags, "-c", launcher],
                    stdin=subprocess.DEVNULL,
                    pass_fds=(inherited,),
                )
        finally:
            os.close(inherited)
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return ours, popen


@contextmanager
def _sigint_blocked() -> Iterator[None]:
    """The template inherits the mask, and unblocks SIGINT once it ignores it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
