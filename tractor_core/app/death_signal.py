"""The kernel's news of a parent's death, for a child that cannot read its lifeline because it is stopped."""

from __future__ import annotations

import ctypes  # trio has imported it already
import os
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1  # <linux/prctl.h>


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
    if sys.platform.startswith("linux"):
        # A refusal (a sandbox, say) is no reason to stop: the lifeline remains.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGCONT), 0, 0, 0)
    parent_pid = os.getppid()
    # The kernel says 0 for a parent in an outer pid namespace.
    return spawner_pid == 0 or parent_pid in (0, spawner_pid)
