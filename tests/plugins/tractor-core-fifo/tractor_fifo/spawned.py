"""What a process started by :mod:`tractor_fifo.spawning` does before it becomes an actor."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from typing import Any, NoReturn


def main(order: dict[str, Any]) -> NoReturn:
    """Settle in as ordered, call the entry, and exit with what it returns."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT,))
    descriptors: dict[str, int] = order["descriptors"]
    _close_all_but(descriptors.values())
    for number in descriptors.values():
        # They came here because they were inheritable; what an actor's user starts must not get them.
        os.set_inheritable(number, False)
    os.nice(order["niceness"])
    if order["cwd"] is not None:
        os.chdir(order["cwd"])
    module, _, function = order["entry"].partition(":")
    sys.exit(getattr(importlib.import_module(module), function)(order["bootstrap"], descriptors))


def _close_all_but(kept: Any) -> None:
    """Close what the parent's other libraries had left inheritable."""
    lowest = 3  # the standard streams stay
    for number in sorted(kept):
        os.closerange(lowest, number)
        lowest = max(lowest, number + 1)
    os.closerange(lowest, os.sysconf("SC_OPEN_MAX"))
