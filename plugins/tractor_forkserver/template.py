"""The template: a process with one thread that imports, then forks whenever its owner says so.

It reaps what it forked and reports how each ended. It ends with its owner: by the end of file of their
socket, and by the kernel's parent-death signal where it is stopped and cannot read.
"""

from __future__ import annotations

import ctypes  # trio has imported it already
import errno
import gc
import importlib
import os
import select
import signal
import socket
import sys
from collections.abc import Iterable
from typing import Final, NamedTuple

from .forked import Forked, run
from .messages import (
    ENDED,
    FAILED,
    FORKED,
    MOST_DESCRIPTORS,
    REFUSED,
    Settings,
    pack_answer,
    receive,
    unpack_request,
)
from .practice import practise

_PR_SET_PDEATHSIG: Final = 1  # <linux/prctl.h>

#: The codec that looking up a host's name imports, and the module for process titles, where it is installed.
_USUALLY_NEEDED: Final = ("encodings.idna", "setproctitle")


def main(control: socket.socket, settings: Settings) -> int:
    """Run the template. Returns in the processes that it forked, and only there, with their exit codes."""
    _end_with_owner(settings["owner"])
    # A terminal sends it to everybody. Forked actors inherit that, and SIGTERM at its default.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD))
    _open_standard()
    # What the collector moves or marks, every process has to copy.
    gc.disable()
    problem = _preload(settings)
    if problem is None and settings["rehearsal"]:
        _rehearse(settings["rehearsal"])
    problem = problem or _prevents_forking(settings["preload"])
    if problem is not None:
        control.send(pack_answer(FAILED, 0, 0, problem))
        os._exit(1)
    gc.freeze()
    return run(_Template(control).serve())


def _end_with_owner(owner: int) -> None:
    """Die when it does, also while stopped; a refusal (a sandbox, say) leaves the socket's end of file."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() not in (0, owner):  # 0: an owner outside of this pid namespace
        os._exit(1)


def _open_standard() -> None:
    """Have something at 0, 1 and 2, so that no descriptor received from now on gets one of these."""
    null = os.open(os.devnull, os.O_RDWR)
    while null <= 2:
        null = os.dup(null)
    os.close(null)


def _preload(settings: Settings) -> str | None:
    """Import what actors will need; returns what is wrong, None where nothing is."""
    for name in settings["preload"]:
        try:
            importlib.import_module(name)
        except BaseException as error:  # a module may end its import with SystemExit
            return f"cannot preload {name!r}: {type(error).__name__}: {error}"
    for name in (*settings["expected"], *_USUALLY_NEEDED):
        try:
            importlib.import_module(name)
        except Exception:
            pass  # the actor that needs it says so with all its circumstances
    return None


def _prevents_forking(preloaded: Iterable[str]) -> str | None:
    """What is wrong with forking this process, None where nothing is; flushes what actors must not write."""
    threads = len(os.listdir("/proc/self/task"))
    if threads > 1:
        names = ", ".join(preloaded)
        return f"preloading {names} started {threads - 1} threads; a process with threads cannot be forked"
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()  # or each actor would write it again
    return None


def _rehearse(name: str) -> None:
    """Do what actors will do, so that what this changes in memory is shared by all of them."""
    module_name, _, function_name = name.partition(":")
    try:
        practise(getattr(importlib.import_module(module_name), function_name))
    except Exception:
        pass  # whatever it is: an actor that meets it says so with all its circumstances
    gc.collect()  # of what is left of it; all else is frozen already


class _Request(NamedTuple):
    """One actor to fork; the descriptors are this process's own copies."""

    key: int
    standard: int
    descriptors: list[int]


class _Template:
    """The loop of the template process."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._wakeup, self._wakeup_end = socket.socketpair()
        self._wakeup.setblocking(False)
        self._wakeup_end.setblocking(False)

    def serve(self) -> Forked:
        """Fork on request until the owner is gone. Returns in each forked process."""
        signal.set_wakeup_fd(self._wakeup_end.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        poller = select.poll()
        poller.register(self._control, select.POLLIN)
        poller.register(self._wakeup, select.POLLIN)
        try:
            while True:
                for descriptor, _ in poller.poll():
                    if descriptor == self._wakeup.fileno():
                        self._reap()
                        continue
                    forked = self._fork(self._receive())
                    if forked is not None:
                        return forked
        except ConnectionError:
            os._exit(0)  # the owner is gone

    def _receive(self) -> _Request:
        data, descriptors = receive(self._control, MOST_DESCRIPTORS)
        if not data:
            raise ConnectionResetError("end of file")
        key, standard = unpack_request(data)
        return _Request(key, standard, descriptors)

    def _fork(self, request: _Request) -> Forked | None:
        """The new process gets its :class:`Forked`, this one None."""
        try:
            if not request.descriptors:
                raise OSError(errno.EMFILE, "no descriptors arrived")
            pid = os.fork()
        except OSError as error:
            _close(request.descriptors)
            self._control.send(pack_answer(REFUSED, request.key, error.errno or 0))
            return None
        if pid == 0:
            self._forget()
            return Forked(request.standard, request.descriptors)
        # Kept open here, a subtree guard would tell of an actor that does not exist.
        _close(request.descriptors)
        self._report(request.key, pid)
        return None

    def _report(self, key: int, pid: int) -> None:
        # Not reaped yet, so that this is the process meant, whatever it has done since.
        try:
            pidfd = os.pidfd_open(pid)
        except OSError as error:
            os.kill(pid, signal.SIGKILL)
            self._control.send(pack_answer(REFUSED, key, error.errno or 0))
            return
        try:
            socket.send_fds(self._control, [pack_answer(FORKED, key, pid)], [pidfd])
        finally:
            os.close(pidfd)

    def _reap(self) -> None:
        try:
            while self._wakeup.recv(4096):
                pass
        except BlockingIOError:
            pass
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._control.send(pack_answer(ENDED, pid, status))

    def _forget(self) -> None:
        """In a forked process: undo what only the template needs."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for each in (self._control, self._wakeup, self._wakeup_end):
            each.close()
        gc.enable()


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
