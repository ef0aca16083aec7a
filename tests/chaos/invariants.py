"""What must hold for every tree, whatever befell it. Each check returns what is wrong, as sentences."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from .journal import Entry, Reader
from .plan import HARMLESS, Plan

#: How a piece of work may end, whatever happens: a result, or an error that the documentation lists.
ALLOWED: Final = frozenset(
    {
        "result",
        "cancelled",
        "NobodyThere",
        "ActorDied",
        "ActorTooSlowError",
        "ContextCancelled",
        "TransportClosed",
        "FrameTooLarge",
        # Of dialling and spawning.
        "ConnectionRefusedError",
        "ConnectionResetError",
        "FileNotFoundError",
        "BrokenPipeError",
    }
)

#: How work ends where nobody was harmed, but some may have been slow: a cancel that is not acknowledged in
#: half a second says so.
UNHARMED: Final = frozenset({"result", "cancelled", "NobodyThere", "ActorTooSlowError"})

#: Nothing frees a waiter whose peer stands still for good, but its own deadline or that of dialling.
WHEN_STOPPED: Final = frozenset({"TooSlowError", "TimeoutError"})

#: What the system says to who has no descriptors left.
WITHOUT_DESCRIPTORS: Final = frozenset({"OSError", "PluginError"})

#: What a dialler makes of a ZeroMQ listener that hangs up on newcomers, as one without descriptors does.
_HUNG_UP: Final = re.compile(r"refused this actor by ending the CURVE handshake")

#: On standard error, what a bug of the runtime looks like. Tracebacks of other actors are shown with a bar.
SUSPICIOUS: Final = re.compile(
    r"^Traceback \(most recent call last\)|Exception ignored|Task exception|ResourceWarning"
    r"|was never awaited|InternalError|Fatal Python error|Segmentation fault|trio\.TrioInternalError"
)

#: A child inherits how few descriptors its parent may have, and an interpreter that can open no directory
#: finds no modules.
_NO_DESCRIPTORS_TO_BOOT: Final = re.compile(
    r'^Traceback \(most recent call last\):\n  File "<string>", line \d+, in <module>\n(?:    .*\n)*'
    r"(?:ModuleNotFoundError: |OSError: \[Errno 24\]).*\n(?:sys:1: ResourceWarning: .*\n)?",
    re.MULTILINE,
)

#: What the standard library's child says when who started it was gone before it had told it what to run.
_NOBODY_TO_BOOT_FOR: Final = re.compile(
    r'^Traceback \(most recent call last\):\n  File "<string>", line \d+, in <module>\n(?:    .*\n)*'
    r'(?:  File ".*/multiprocessing/spawn\.py", .*\n(?:    .*\n)+)+EOFError: Ran out of input\n',
    re.MULTILINE,
)

#: Faults that end an actor without letting it finish anything; whom a stop befell is killed in the end.
_SUDDEN: Final = frozenset({"kill", "template", "stop"})

#: What libzmq says when it ends a process, of which docs/reference/zmq.rst tells; it is counted.
_LIBZMQ: Final = re.compile(
    r"^Assertion failed: !_io_error \(src/stream_engine_base\.cpp:\d+\)$"
    r"|^Too many open files \(src/ipc_listener\.cpp:\d+\)$",
    re.MULTILINE,
)

#: Reasons for which an actor may refuse to start others.
_REFUSED_START: Final = re.compile(
    r"nursery was cancelled|starts no more actors|starts no more children|nobody listens"
)


def outcomes(plan: Plan, journal: Reader) -> Iterator[str]:
    """Every awaited outcome is a result or a typed error, and a harmless plan harms nobody."""
    for entry in journal.of("end"):
        for kind in entry.outcome.split():
            if not _allowed(kind, plan, entry):
                yield f"{entry.name} ({entry.pid}): {entry.work} ended with {kind}: {entry.text}"


def _allowed(kind: str, plan: Plan, entry: Entry) -> bool:
    kinds = {fault.kind for fault in plan.faults}
    if kind.startswith("RemoteActorError["):
        kind = kind.removeprefix("RemoteActorError[").rstrip("]")
    if kind in WHEN_STOPPED:
        return "stop" in kinds
    if kind in WITHOUT_DESCRIPTORS or (kind == "AuthenticationFailed" and _HUNG_UP.search(entry.text)):
        return "descriptors" in kinds
    if kind == "RuntimeError":
        return _REFUSED_START.search(entry.text) is not None
    if kinds <= {"delay", "noise"} and not entry.work.partition(" ")[2].startswith("keeping"):
        return kind in UNHARMED
    return kind in ALLOWED


def endings(journal: Reader) -> Iterator[str]:
    """Who took leave in good order waits for nothing any more."""
    polite = {entry.pid for entry in journal.of("bye")}
    for entry in journal.open_works():
        if entry.pid in polite:
            yield f"{entry.name} ({entry.pid}) ended in good order while it waited for {entry.work}"


def leftovers_in_root(journal: Reader) -> Iterator[str]:
    """The root gives back what its children cost it: descriptors, threads and processes."""
    for entry in journal.of("held"):
        if entry.text:
            yield f"when all its children were gone the root held more than before: {entry.text}"


def losses(plan: Plan, journal: Reader, alive: Callable[[int], bool]) -> Iterator[str]:
    """Where nothing harmful was done, every actor is still there when the tree's end begins.

    Whether it then ends in good order is a question of time: one that takes too long is killed.
    """
    if any(fault.kind not in HARMLESS for fault in plan.faults if not fault.late):
        return
    for entry in journal.of("hello"):
        if entry.urls and not alive(entry.pid):
            yield f"{entry.name} ({entry.pid}) was lost although nothing harmful was done"


def complaints(errors: str, plan: Plan) -> Iterator[str]:
    """Standard error shows no bug of the runtime."""
    kinds = {fault.kind for fault in plan.faults}
    if "descriptors" in kinds:
        errors = _NO_DESCRIPTORS_TO_BOOT.sub("", errors)
    if kinds & _SUDDEN or plan.ending == "kill":
        errors = _NOBODY_TO_BOOT_FOR.sub("", errors)
    lines = errors.splitlines()
    for number, line in enumerate(lines):
        if SUSPICIOUS.search(line):
            yield "on standard error: " + "\n    ".join(lines[number : number + 40])
            return


def ended_by_libzmq(errors: str, code: int | None = -signal.SIGABRT) -> bool:
    """Whether a process that ended with ``code`` may owe that to a known assertion of libzmq."""
    return code == -signal.SIGABRT and _LIBZMQ.search(errors) is not None


def files(directory: Path) -> Iterator[str]:
    """No socket file is left, nor a lock."""
    for where, _, names in os.walk(directory):
        for name in names:
            yield f"left behind: {os.path.join(where, name)}"
