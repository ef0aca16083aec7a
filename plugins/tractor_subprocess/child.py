"""The first code of a new process: reads what its parent wrote into the bootstrap pipe and calls the entry.

Everything on the pipe before the bootstrap blob is a sequence of byte strings, each headed by its
length, so that reading it needs no import at all. The :func:`launcher`, given to ``python -c``, reads the
first, which holds ``sys.path``; only then can this module, and the entry's, be found. It also turns the
garbage collector off: what importing makes stays, and searching it time and again is 5 % of a start.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
from collections.abc import Iterable, Mapping
from typing import BinaryIO, NoReturn

#: Bytes of the length before each field.
LENGTH_SIZE = 8

_LAUNCHER = """\
import gc, os, sys
gc.disable()
pipe = open({descriptor}, "rb")
size = int.from_bytes(pipe.read({length_size}), "big")
paths = pipe.read(size)
if not paths or len(paths) < size:  # the parent died while it wrote; nobody is left to tell
    os._exit(1)
sys.path[:] = map(os.fsdecode, paths.split(b"\\0"))
from tractor_subprocess.child import main
main(pipe)
"""


def launcher(descriptor: int) -> str:
    """The source that ``python -c`` runs; ``descriptor`` is the pipe's read end."""
    return _LAUNCHER.format(descriptor=descriptor, length_size=LENGTH_SIZE)


def pack_strings(strings: Iterable[str]) -> bytes:
    """One field holding several strings; none of them may contain NUL."""
    packed = b"\0".join(map(os.fsencode, strings))
    return len(packed).to_bytes(LENGTH_SIZE, "big") + packed


def pack_header(
    *, search_path: Iterable[str], entry: str, title: str, descriptors: Mapping[str, int]
) -> bytes:
    """What the pipe carries before the length and bytes of the bootstrap blob.

    Relative entries of ``search_path`` are resolved here: the child may run in another directory.
    """
    return (
        pack_strings(path if os.path.isabs(path) else os.path.abspath(path) for path in search_path)
        + pack_strings([entry, title])
        + pack_strings(f"{number}={name}" for name, number in descriptors.items())
    )


def main(pipe: BinaryIO) -> NoReturn:
    """Read the rest of the header and the blob, call the entry, and exit with what it returns."""
    _settle_signals()
    entry, title = _read_strings(pipe)
    descriptors = {}
    for item in _read_strings(pipe):
        number, _, name = item.partition("=")
        descriptors[name] = int(number)
        # They reached this process because they were inheritable; what its user starts must not get
        # them in turn, or a process left in the background would look like a living actor.
        os.set_inheritable(int(number), False)
    bootstrap = _read_field(pipe)
    pipe.close()
    _set_title(title)
    module_name, _, function_name = entry.partition(":")
    function = getattr(importlib.import_module(module_name), function_name)
    # Nothing made so far is ever garbage: later collections need not look at it either.
    gc.freeze()
    gc.enable()
    sys.exit(function(bootstrap, descriptors))


def _settle_signals() -> None:
    """Ignore what a terminal sends to everybody; let SIGTERM end this process at once.

    The parent blocked SIGINT while it started this process, so that one that came before this line waits
    until it can be ignored instead of printing a traceback from the interpreter's start.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT,))


def _read_field(pipe: BinaryIO) -> bytes:
    size = int.from_bytes(_read_exactly(pipe, LENGTH_SIZE), "big")
    return _read_exactly(pipe, size)


def _read_strings(pipe: BinaryIO) -> list[str]:
    field = _read_field(pipe)
    return [os.fsdecode(item) for item in field.split(b"\0")] if field else []


def _read_exactly(pipe: BinaryIO, size: int) -> bytes:
    data = pipe.read(size)
    if len(data) < size:
        # The parent died or gave up while it wrote; nobody is left to tell.
        os._exit(1)
    return data


def _set_title(title: str) -> None:
    try:
        module = importlib.import_module("setproctitle")
    except ImportError:  # an optional extra
        return
    module.setproctitle(title)
