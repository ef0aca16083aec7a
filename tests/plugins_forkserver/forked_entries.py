"""Entries for processes forked from a template that knows this module by its search path, and modules for it
to preload."""

from __future__ import annotations

import contextvars
import json
import os
import random
import signal
import sys
import time
import uuid
from collections.abc import Mapping


def report(bootstrap: bytes, descriptors: Mapping[str, int]) -> int:
    """Write to descriptor "report" what a fresh interpreter would differ in, as JSON."""
    facts = {
        "pid": os.getpid(),
        "random": random.random(),
        "uuid": str(uuid.uuid4()),
        "search_path": sys.path,
        "modules": sorted(sys.modules),
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "chld_default": signal.getsignal(signal.SIGCHLD) is signal.SIG_DFL,
        "int_ignored": signal.getsignal(signal.SIGINT) is signal.SIG_IGN,
        "wakeup": signal.set_wakeup_fd(-1),
        "zone": time.tzname[0],
        "inheritable": [number for number in descriptors.values() if os.get_inheritable(number)],
        "context": [variable.name for variable in contextvars.copy_context()],
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
        "profiled": sys.getprofile() is not None,
        "stdin": sys.stdin.readline() if bootstrap == b"read" else "",
    }
    with open(descriptors["report"], "w", encoding="utf-8") as file:
        json.dump(facts, file)
    return 0


def wait(bootstrap: bytes, descriptors: Mapping[str, int]) -> int:
    """Say that it runs, then stay until killed or until descriptor "lifeline" ends; the code is the
    bootstrap's."""
    os.write(descriptors["report"], b"running\n")
    if "lifeline" in descriptors:
        while os.read(descriptors["lifeline"], 1):
            pass
        return int(bootstrap)
    while True:
        time.sleep(3600)


def fail() -> None:
    """A rehearsal that goes wrong."""
    raise RuntimeError("as it was asked to")
