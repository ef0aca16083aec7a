"""What runs in the new process, below the standard library's own bootstrap."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Callable, Mapping
from multiprocessing import reduction
from typing import Any, NoReturn


class Inherited:
    """A descriptor that a process about to be spawned inherits; unpickled there as its number."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __reduce__(self) -> tuple[Callable[[Any], int], tuple[Any]]:
        return _received, (reduction.DupFd(self._number),)


def _received(duplicate: Any) -> int:
    number: int = duplicate.detach()
    # It got here because it was inheritable; what its user starts must not get it in turn.
    os.set_inheritable(number, False)
    return number


def main(entry: str, title: str, bootstrap: bytes, descriptors: Mapping[str, int]) -> NoReturn:
    """The process's target: call the entry, and exit with what it returns."""
    # The spawner blocked SIGINT, for as long as it would have meant a traceback.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT,))
    _set_title(title)
    module_name, _, function_name = entry.partition(":")
    function = getattr(importlib.import_module(module_name), function_name)
    sys.exit(function(bootstrap, descriptors))


def _set_title(title: str) -> None:
    try:
        module = importlib.import_module("setproctitle")
    except ImportError:  # an optional extra
        return
    module.setproctitle(title)
