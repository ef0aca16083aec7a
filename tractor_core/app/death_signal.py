"""The kernel's help for orphans that cannot act on their lifeline themselves.

A lifeline is read by a thread, which needs the process to be running and the interpreter lock. One that is
stopped is woken by a parent-death signal; one whose lock some C code holds is ended by an alarm.
"""

from __future__ import annotations

import ctypes  # trio has imported it already
import fcntl
import os
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1  # <linux/prctl.h>
_F_SETSIG: Final = 10  # <linux/fcntl.h>


def request_death_signal(spawner_pid: int) -> bool:
    """Ask the kernel for SIGCONT when the parent dies; whether the parent is still alive.

    SIGCONT, because it wakes a stopped process, whose lifeline thread then ends it with the usual
    grace, while SIGKILL would cost every child its grace. And because it does no harm: the kernel sends
    the signal when the *thread* that forked ends, which need not mean that the process has.

    ``spawner_pid`` is the process that started this one, 0 where that is not known. The parent may have
    died before the signal was asked for, so it is looked at afterwards; comparing with process 1 would be
    wrong, for an orphan may go to any reaper, and process 1 may be a parent like others. No signal is
    asked for elsewhere than on Linux.
    """
    if sys.platform == "linux":
        # A refusal (a sandbox, say) is no reason to stop: the lifeline remains.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGCONT), 0, 0, 0)
    parent_pid = os.getppid()
    # The kernel says 0 for a parent in an outer pid namespace.
    return spawner_pid == 0 or parent_pid in (0, spawner_pid)


def arm_orphan_alarm(*lifelines: int) -> bool:
    """Have SIGALRM end this process one second after its parent or an ancestor died, whatever it is doing.

    For the actor that computes in C without ever letting the interpreter lock go, where neither a thread
    nor a Python signal handler gets to run. No Python is involved: the kernel sends SIGHUP at the end of
    file of a lifeline (a pipe's read end), and its handler is the C library's own ``alarm``, which takes
    the number of the signal, 1, for a number of seconds. All lifelines are watched, so that a chain of such
    actors ends at the same time, not one after the other. The handler serves once, lest the end of the next
    ancestor begin the second anew: another SIGHUP ends the process at once, unless it has been able to run
    :func:`settle_orphan_alarm` in the meantime. An actor that ends within its grace never notices; a grace
    longer than a second would be cut short.

    Main thread only. Returns whether it is armed: it is not elsewhere than on Linux, where SIGHUP is not
    at its default (``nohup``), or where the system refuses. SIGHUP from elsewhere then ends the process a
    second later than it otherwise would. A program that sets its own handler for SIGHUP or
    SIGALRM gives this up.
    """
    if sys.platform != "linux" or signal.getsignal(signal.SIGHUP) is not signal.SIG_DFL:
        return False
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGHUP, signal.SIGALRM))
    library = ctypes.CDLL(None)
    # The System V flavour goes back to the default once it was used; musl only has the other one.
    _install(
        "sysv_signal" if hasattr(library, "sysv_signal") else "signal",
        ctypes.cast(library.alarm, ctypes.c_void_p).value,
    )
    try:
        for lifeline in lifelines:
            _signal_at_end(lifeline)
    except OSError:
        return False
    return True


def _signal_at_end(lifeline: int) -> None:
    """Ask for SIGHUP at the end of file.

    Asked for at a descriptor of its own, kept until the process ends: whom to signal belongs to what the
    kernel calls an open file description, and that of an ancestor's lifeline is shared with every process
    that inherited it.
    """
    own = os.open(f"/proc/self/fd/{lifeline}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.fcntl(own, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(own, _F_SETSIG, int(signal.SIGHUP))
    fcntl.fcntl(own, fcntl.F_SETFL, fcntl.fcntl(own, fcntl.F_GETFL) | fcntl.FASYNC)


def settle_orphan_alarm() -> None:
    """An ancestor has died, and this process is able to act on it: let it have its second.

    Sets the alarm, in case SIGHUP has not come yet, and has further ones ignored. Does nothing where there is
    a Python handler for SIGHUP. Any thread.
    """
    if sys.platform != "linux" or signal.getsignal(signal.SIGHUP) is not signal.SIG_DFL:
        return
    signal.alarm(1)
    _install("signal", int(signal.SIG_IGN))


def _install(function: str, handler: int | None) -> None:
    """Set what SIGHUP does behind Python's back: a C function has no place in its own table."""
    library = ctypes.CDLL(None)
    install = getattr(library, function)
    install.argtypes = [ctypes.c_int, ctypes.c_void_p]
    install.restype = ctypes.c_void_p
    install(signal.SIGHUP, handler)
