"""Logging that knows which actor speaks.

The standard :mod:`logging` underneath: loggers live in the tree ``tractor_core.*``, nothing is
configured by importing this, and a program that has its own handlers needs nothing from here.
:func:`get_console_log` adds one handler for those who have none.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TextIO, TypeAlias

import trio

#: Root of the logger tree.
ROOT = "tractor_core"

#: Levels beside the standard ones, by the name of the method that logs at them.
LEVELS = {
    "transport": 5,  # what moves over the wire
    "io": 8,  # what passes between an actor and the rest of its process: pipes, threads, other loops
    "runtime": 15,  # what the runtime does
    "devx": 17,  # what the debugger does
    "cancel": 22,  # who cancels whom
    "pdb": 500,  # never filtered: the user is at a prompt
}

for _name, _level in LEVELS.items():
    logging.addLevelName(_level, _name.upper())

Level: TypeAlias = "int | str"
#: Says who is speaking, as ``name@short-uuid``, or None outside any actor. It must not log.
Identity: TypeAlias = Callable[[], "str | None"]

#: Who is speaking, where no :data:`Identity` was given to :func:`get_console_log`. The runtime sets it
#: in the context in which an actor's tasks start, and they inherit it.
actor_label: ContextVar[str | None] = ContextVar("actor_label", default=None)


class ActorLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger with a method for each of :data:`LEVELS`."""

    def process(self, msg: Any, kwargs: Any) -> tuple[Any, Any]:
        """Leave the caller's ``extra`` alone (the inherited method replaces it)."""
        return msg, kwargs

    def transport(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Log at level 5: frames and connections."""
        self._log_here(LEVELS["transport"], msg, args, kwargs)

    def io(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Log at level 8: pipes, threads and other loops."""
        self._log_here(LEVELS["io"], msg, args, kwargs)

    def runtime(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Log at level 15: the runtime's own doings."""
        self._log_here(LEVELS["runtime"], msg, args, kwargs)

    def devx(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Log at level 17: the debugger's doings."""
        self._log_here(LEVELS["devx"], msg, args, kwargs)

    def cancel(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Log at level 22: cancellations asked for and taken."""
        self._log_here(LEVELS["cancel"], msg, args, kwargs)

    def pdb(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Log at level 500: what a user at a debugger's prompt must see."""
        self._log_here(LEVELS["pdb"], msg, args, kwargs)

    def _log_here(self, level: int, msg: object, args: tuple[object, ...], kwargs: dict[str, Any]) -> None:
        # The record names the caller of the caller: neither this function nor the method above it.
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 2
        self.log(level, msg, *args, **kwargs)


def get_logger(name: str | None = None) -> ActorLogger:
    """The logger called ``name`` in the tree ``tractor_core.*``, or the root of that tree.

    A name from outside the tree is put under it: ``get_logger("app")`` is ``tractor_core.app``.
    """
    if not name or name == ROOT:
        return ActorLogger(logging.getLogger(ROOT))
    inside = name if name.startswith(f"{ROOT}.") else f"{ROOT}.{name}"
    return ActorLogger(logging.getLogger(inside))


def get_console_log(level: Level | None = None, *, identity: Identity | None = None) -> ActorLogger:
    """Show the tree's records of ``level`` and above on standard error; returns its root logger.

    May be called again: there is one console handler, whose level and ``identity`` (how to find
    out which actor is speaking) change where they are given. A level is a number or a name, in
    any case; an unknown name is a ``ValueError``, anything else a ``TypeError``. Without a level the logger
    keeps its own, which is ``WARNING`` where nobody has set one.
    """
    logger = logging.getLogger(ROOT)
    if level is not None:
        logger.setLevel(_level_number(level))
    handler = next((h for h in logger.handlers if isinstance(h, ConsoleHandler)), None)
    if handler is None:
        handler = ConsoleHandler()
        logger.addHandler(handler)
    if identity is not None:
        handler.identity = identity
    return ActorLogger(logger)


def _level_number(level: Level) -> int:
    if isinstance(level, int):
        return level
    if not isinstance(level, str):
        raise TypeError(f"a log level is a number (int) or a name, not {level!r}")
    if level.isdecimal():
        return int(level)
    known = logging.getLevelNamesMapping()
    try:
        return known[level.upper()]
    except KeyError:
        names = ", ".join(sorted((name.lower() for name in known), key=lambda name: known[name.upper()]))
        raise ValueError(f"unknown log level {level!r} (known: {names})") from None


class ConsoleHandler(logging.Handler):
    """Writes to whatever standard error is at the moment, in colour where that is a terminal.

    A line holds the time, level, actor, process id, task (outside trio the thread), logger and message.
    """

    def __init__(self) -> None:
        super().__init__()
        #: Who is speaking; called in the thread and context of the logging call.
        self.identity: Identity = actor_label.get
        self._plain = _ConsoleFormatter(self, colour=False)
        self._coloured = _ConsoleFormatter(self, colour=True)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; a failure is reported as :mod:`logging` does, and does not reach the caller."""
        try:
            stream = sys.stderr
            if stream is None:  # a process without a console
                return
            formatter = self.formatter or (self._coloured if _shows_colour(stream) else self._plain)
            stream.write(formatter.format(record) + "\n")
            stream.flush()
        except Exception:
            self.handleError(record)


def _shows_colour(stream: TextIO) -> bool:
    return "NO_COLOR" not in os.environ and stream.isatty()


class _ConsoleFormatter(logging.Formatter):
    default_msec_format = "%s.%03d"

    def __init__(self, handler: ConsoleHandler, *, colour: bool) -> None:
        super().__init__(datefmt=None)
        self.default_time_format = "%H:%M:%S"
        self._handler = handler
        self._colour = colour

    def formatMessage(self, record: logging.LogRecord) -> str:
        level = f"{record.levelname.lower():<9}"
        if self._colour:
            level = f"\x1b[{_colour_code(record.levelno)}m{level}\x1b[0m"
        speaker = f"{self._handler.identity() or '-'} {record.process} {_task_name(record)}"
        return f"{self.formatTime(record)} {level} {speaker} {record.name}: {record.message}"


def _colour_code(level: int) -> int:
    """The SGR code: red from errors up, yellow from warnings up, cyan for cancellations, else dim."""
    if level >= LEVELS["pdb"]:
        return 35
    if level >= logging.ERROR:
        return 31
    if level >= logging.WARNING:
        return 33
    return 36 if level >= LEVELS["cancel"] else 2


def _task_name(record: logging.LogRecord) -> str:
    try:
        return trio.lowlevel.current_task().name
    except RuntimeError:
        return record.threadName or threading.current_thread().name


__all__ = [
    "LEVELS",
    "ActorLogger",
    "ConsoleHandler",
    "actor_label",
    "get_console_log",
    "get_logger",
]
