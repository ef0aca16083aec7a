"""Orphans that come to this very process, because it is process 1 of a container.

An actor that dies leaves what it has started to process 1, which must reap it in its time. Where that is an
``init`` it does so by trade; where it is the root of a tree, what the root reaps here is its own
descendants and nothing else. A child that the program itself has started may be waited for by the program
at any time, and its status is lost to whoever comes second. Descendants are told apart by a signal that they
ignore: that is inherited by whatever they start, and can be seen on what has ended already.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Collection
from typing import Final

import trio

from .lifeline import Lifeline

#: Seconds between two looks. What is reaped has been there at both.
INTERVAL: Final = 1.0


def mark_descendant() -> None:
    """In a spawned actor: make it, and whatever it starts, known as a descendant. Main thread only."""
    number = _mark()
    if number is not None:
        signal.signal(number, signal.SIG_IGN)


async def reap_adopted(own: Lifeline) -> None:
    """Reap, for ever, those descendants that have ended and are none of the actors held by ``own``.

    Returns at once where this is not process 1.
    """
    if os.getpid() != 1 or _mark() is None:
        return
    seen: set[int] = set()
    while True:
        await trio.sleep(INTERVAL)
        ended = set(_ended_descendants()).difference(own.pids())
        seen = ended - _reap(ended & seen)


def _mark() -> int | None:
    """A signal of the range that has no meanings; None where the system has no such range."""
    last: int | None = getattr(signal, "SIGRTMAX", None)
    return None if last is None else last - 5


def _reap(pids: Collection[int]) -> set[int]:
    """Returns those of them that have been reaped."""
    return {pid for pid in pids if _is_reaped(pid)}


def _is_reaped(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True  # whoever forked it was quicker


def _ended_descendants() -> list[int]:
    """The zombies among this process's children that carry the mark."""
    found = []
    for thread in os.listdir("/proc/self/task"):
        for pid in _read(f"/proc/self/task/{thread}/children").split():
            status = _read(f"/proc/{pid}/status")
            if "\nState:\tZ" in status and _ignores(status, _mark() or 0):
                found.append(int(pid))
    return found


def _ignores(status: str, number: int) -> bool:
    _, _, rest = status.partition("\nSigIgn:\t")
    mask = int(rest.partition("\n")[0] or "0", 16)
    return bool(mask >> (number - 1) & 1)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""  # it has ended meanwhile
