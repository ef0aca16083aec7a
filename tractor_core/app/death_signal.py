"""The kernel's help for orphans that cannot act on their lifeline themselves.

A lifeline is read by a thread, which needs the process to be running and the interpreter lock. One that is
stopped is woken by the kernel, which sends SIGCONT at the lifeline's end and when the parent dies; one whose
lock some C code holds is ended by an alarm.
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

#: The C library. Opened with the module, so that processes forked from one that has imported it find that
#: done: opening it for each use cost them 0.1 ms and 11 pages.
_LIBRARY: Final = ctypes.CDLL(None)


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
        _LIBRARY.prctl(_PR_SET_PDEATHSIG, int(signal.SIGCONT), 0, 0, 0)
    parent_pid = os.getppid()
    # The kernel says 0 for a parent in an outer pid namespace.
    return spawner_pid == 0 or parent_pid in (0, spawner_pid)


def wake_at_end(*lifelines: int) -> bool:
    """Have the kernel send SIGCONT to this process at the end of each lifeline; whether it will.

    For those that the parent-death signal does not reach: a process that was forked from a template which
    died before its owner, and one below an ancestor whose other descendants are stopped as well and pass
    nothing on. Linux only.
    """
    if sys.platform != "linux":
        return False
    try:
        for lifeline in lifelines:
            _signal_at_end(lifeline, signal.SIGCONT)
    except OSError:
        return False
    return True


def arm_orphan_alarm(*lifelines: int) -> bool:
    """Have SIGALRM end this process a second after its parent or an ancestor died, whatever it is doing.

    For the actor that computes in C without ever letting the interpreter lock go, where neither a thread
    nor a Python signal handler gets to run. No Python is involved: the kernel sends SIGHUP at the end of
    file of a lifeline (a pipe's read end), and its handler is the C library's own ``alarm``, which takes
    the number of the signal, 1, for a number of seconds. All lifelines are watched, so that a chain of such
    actors ends at the same time, not one after the other. The handler serves once, lest the end of the next
    ancestor begin the second anew: another SIGHUP ends the process at once, unless it has been able to run
    :func:`settle_orphan_alarm` in the meantime. An actor that ends within its grace never notices; a grace
    longer than a second would be cut short.

    Where SIGHUP is ignored (``nohup``), it must stay so: a terminal that hangs up would end the actors and
    leave the root. SIGTRAP takes its place then, the lowest number that nobody sends, and five seconds
    that of one.

    Main thread only. Returns whether it is armed: it is not elsewhere than on Linux, where somebody
    handles the signal, or where the system refuses. SIGHUP from elsewhere then ends the process a
    second later than it otherwise would. A program that sets its own handler for SIGHUP or
    SIGALRM gives this up.
    """
    number = _alarm_signal()
    if number is None:
        return False
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (number, signal.SIGALRM))
    # The System V flavour goes back to the default once it was used; musl only has the other one.
    _install(
        "sysv_signal" if hasattr(_LIBRARY, "sysv_signal") else "signal",
        number,
        ctypes.cast(_LIBRARY.alarm, ctypes.c_void_p).value,
    )
    try:
        for lifeline in lifelines:
            _signal_at_end(lifeline, number)
    except OSError:
        return False
    return True


def _alarm_signal() -> signal.Signals | None:
    """The signal whose handler may be the alarm; None where there is none."""
    if sys.platform != "linux":
        return None
    number = signal.SIGTRAP if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else signal.SIGHUP
    return number if signal.getsignal(number) is signal.SIG_DFL else None


def _signal_at_end(lifeline: int, number: signal.Signals) -> None:
    """Ask for a signal at the end of file.

    Asked for at a descriptor of its own, kept until the process ends: whom to signal belongs to what the
    kernel calls an open file description, and that of an ancestor's lifeline is shared with every process
    that inherited it.
    """
    own = os.open(f"/proc/self/fd/{lifeline}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.fcntl(own, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(own, _F_SETSIG, int(number))
    fcntl.fcntl(own, fcntl.F_SETFL, fcntl.fcntl(own, fcntl.F_GETFL) | fcntl.FASYNC)


def settle_orphan_alarm() -> None:
    """An ancestor has died, and this process is able to act on it: let it have its second.

    Sets the alarm, in case the signal has not come yet, and has further ones ignored. Does nothing where
    there is a Python handler for it. Any thread.
    """
    number = _alarm_signal()
    if number is not None:
        signal.alarm(1)
        _install("signal", number, int(signal.SIG_IGN))


def _install(function: str, number: signal.Signals, handler: int | None) -> None:
    """Set what a signal does behind Python's back: a C function has no place in its own table."""
    install = getattr(_LIBRARY, function)
    install.argtypes = [ctypes.c_int, ctypes.c_void_p]
    install.restype = ctypes.c_void_p
    install(number, handler)
