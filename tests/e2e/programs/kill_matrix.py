"""Kills one of a tree of real processes, and watches the others go.

``python -m programs.kill_matrix`` (in ``tests/e2e``) goes through all cases, several at a time, and prints how
long each took. One that took over two seconds is done again by itself at the end; one that still does, or that leaves
something behind, is an error.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import median

import trio

from .kill_cases import Case, covering, every_case

HERE = Path(__file__).resolve().parent.parent

#: Seconds: what is promised, and when a check gives up on a machine that is busy with other things.
PROMISED, PATIENCE = 2.0, 8.0

#: Carried by every process of a case in its environment.
MARK = "TRACTOR_TESTS_KILL_CASE"

_numbers = itertools.count()


class Place:
    """Where one tree lives: a registry's address and a runtime directory that nobody else uses."""

    def __init__(self, scheme: str) -> None:
        self.number = f"{os.getpid()}-{next(_numbers)}"
        self.directory = Path(os.environ["XDG_RUNTIME_DIR"], f"k{self.number}")
        self.directory.mkdir(mode=0o700)
        self.registry = f"{scheme}://{self.directory}/r.sock" if scheme == "uds" else _free_url(scheme)
        self.environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "XDG_RUNTIME_DIR": str(self.directory),
            MARK: self.number,
        }

    def processes(self) -> list[int]:
        """Every process that was started from here, and can still do anything."""
        mark = f"{MARK}={self.number}\0".encode()
        return [pid for pid in _pids() if mark in _read(pid, "environ")]

    def files(self) -> list[str]:
        """What lies in the directory; lock files stay, for removing one would race with the next to lock it."""
        found = (path for path in self.directory.rglob("*") if not path.is_dir() and path.suffix != ".lock")
        return sorted(str(path.relative_to(self.directory)) for path in found)


async def run_case(case: Case) -> float:
    """Kill one of a tree and wait until all are gone; returns how long that took (seconds).

    ``AssertionError`` where something stays, or another tree cannot have the registry's address at once.
    """
    place = Place(case.scheme)
    root = subprocess.Popen(
        [sys.executable, "-m", "programs.tree", place.registry, case.victim, case.behaviour, case.method],
        cwd=HERE,
        env=place.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert root.stdout is not None and root.stderr is not None
        await trio.lowlevel.wait_readable(root.stdout)
        pids = json.loads(root.stdout.readline() or b"[]")
        assert len(pids) == 4, f"{case}: the tree did not stand: {root.stderr.read()!r}"
        last = await _strike(case, pids)
        began = time.monotonic()
        strike(pids[0] if last else _victim(case, pids), last or signal.Signals[case.signal])
        took = await _all_gone(case, root, pids, place, began)
    finally:
        end(root, place.processes())
    await _start_again(case, place)
    return took
