"""The first steps of a forked process: becoming what a fresh interpreter in the owner's place would be."""

from __future__ import annotations

import importlib
import marshal
import os
import random
import signal
import sys
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from .messages import Order


class Forked(NamedTuple):
    """What came with the request: the pipe with the order, the working directory, the owner's standard
    descriptors as far as the bits of ``standard`` say that it has them, and those to be passed on."""

    standard: int
    descriptors: list[int]


def run(forked: Forked) -> int:
    """Call the entry; returns the exit code. Ends the process where the owner gave up on it."""
    pipe, directory, *rest = forked.descriptors
    order = _read_order(pipe)
    inherited = rest[_take_standard(forked.standard, rest) :]
    os.fchdir(directory)
    os.close(directory)
    _set_environment(order["environment"])
    signal.pthread_sigmask(signal.SIG_SETMASK, order["blocked"])
    sys.path[:] = order["search_path"]
    _forget_directories()
    _reseed()
    title = sys.modules.get("setproctitle")
    if title is not None:
        title.setproctitle(order["title"])
    module_name, _, function_name = order["entry"].partition(":")
    function: Any = getattr(importlib.import_module(module_name), function_name)
    code: int = function(order["bootstrap"], dict(zip(order["names"], inherited, strict=True)))
    return code


def _read_order(descriptor: int) -> Order:
    with open(descriptor, "rb") as pipe:
        size = pipe.read(8)
        data = pipe.read(int.from_bytes(size, "big")) if len(size) == 8 else b""
    if len(size) < 8 or len(data) < int.from_bytes(size, "big"):
        # The owner died or was cancelled while it wrote; nobody is left to tell.
        os._exit(1)
    order: Order = marshal.loads(data)
    return order


def _take_standard(present: int, descriptors: list[int]) -> int:
    """Put the owner's standard descriptors, the first of ``descriptors``, in place; returns how many came."""
    taken = 0
    for number in range(3):
        if present & (1 << number):
            os.dup2(descriptors[taken], number)
            os.close(descriptors[taken])
            taken += 1
        else:
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, number)
            os.close(null)
    # The streams were made for what the template has there.
    if sys.stdout is not None and hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(line_buffering=sys.stdout.isatty())
    return taken


def _set_environment(wanted: Mapping[bytes, bytes]) -> None:
    current = os.environb
    zone = current.get(b"TZ")
    for name in [name for name in current if name not in wanted]:
        del current[name]
    for name, value in wanted.items():
        if current.get(name) != value:
            current[name] = value
    if current.get(b"TZ") != zone:
        time.tzset()


def _forget_directories() -> None:
    """What the template saw of directories may be old by now.

    ``importlib.invalidate_caches()`` would do the same, and first import ``importlib.metadata``.
    """
    for path, finder in list(sys.path_importer_cache.items()):
        if finder is None:
            del sys.path_importer_cache[path]
        elif hasattr(finder, "invalidate_caches"):
            finder.invalidate_caches()


def _reseed() -> None:
    """Let no two actors draw the same numbers. :mod:`random` does so by itself; that is not promised."""
    random.seed()
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()
