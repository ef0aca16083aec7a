"""What the processes of a tree note down as they go, in one file that all of them append to.

A line is one write of a file opened for appending, so that lines of several processes do not mix, and what a
killed process had noted stays. Each line is a *step* of the tree.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

import tractor_core as tractor

#: The variable that names the file.
VARIABLE: Final = "CHAOS_JOURNAL"

#: Seconds after which a piece of work is given up. Nothing that works takes nearly as long, so that the end
#: of it is an error unless somebody was stopped for good.
DEADLINE: Final = 40.0


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line.

    ``event`` is hello (with ``urls``), standing (the children have started, or failed to), begin, end (with
    ``outcome``, and what went wrong in ``text``), bye (the runtime ended in good order), or held (what the
    root found left of its children, in ``text``).
    """

    event: str
    name: str
    pid: int
    work: str = ""
    outcome: str = ""
    text: str = ""
    urls: tuple[str, ...] = ()


class Journal:
    """This process's way to write."""

    def __init__(self, path: str) -> None:
        # Opened once, so that a process without descriptors can still say so.
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._numbers = count()

    def close(self) -> None:
        """For those who do not keep it until their process ends."""
        os.close(self._descriptor)

    def write(self, event: str, name: str, **fields: Any) -> None:
        line = msgspec.json.encode(Entry(event, name, os.getpid(), **fields))
        os.write(self._descriptor, line + b"\n")

    @asynccontextmanager
    async def noted(self, name: str, what: str) -> AsyncIterator[None]:
        """Note the beginning of the block and how it ended; its errors are noted, not raised."""
        work = f"{os.getpid()}/{next(self._numbers)} {what}"
        self.write("begin", name, work=work)
        outcome, text = "cancelled", ""
        try:
            yield
            outcome = "result"
        except trio.Cancelled:
            raise
        except Exception as error:
            outcome, text = outcomes_of(error)
        except BaseExceptionGroup as group:
            # Cancellation and errors side by side: the errors are noted, the rest is passed on.
            outcome, text = outcomes_of(group)
            _, cancelled = group.split(Exception)
            if cancelled is not None:
                raise cancelled from None
        finally:
            self.write("end", name, work=work, outcome=outcome, text=text)


@cache
def journal() -> Journal:
    """The journal of the tree that this process is part of."""
    return Journal(os.environ[VARIABLE])


def outcomes_of(error: BaseException) -> tuple[str, str]:
    """The kinds of error in there, separated by blanks, and what they say."""
    leaves = list(_leaves(error))
    return " ".join(dict.fromkeys(map(kind_of, leaves))), "; ".join(_words(leaf) for leaf in leaves)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _leaves(part)
    else:
        yield error


def kind_of(error: BaseException) -> str:
    """The class of an error; that of its origin too where it comes from another actor."""
    if isinstance(error, trio.Cancelled):
        return "cancelled"
    kind = type(error).__name__
    if type(error) is tractor.RemoteActorError:
        return f"{kind}[{error.src_type_str.rpartition(':')[2].rpartition('.')[2]}]"
    return kind


def _words(error: BaseException) -> str:
    """The message and the innermost frame: enough to find it by."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = "" if trace is None else f" at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
    return f"{type(error).__name__}: {str(error)[:400]}{place}"


class Reader:
    """The journal as seen from outside, read on from where the last reading ended."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0
        self.entries: list[Entry] = []

    def update(self) -> int:
        """Read what is new; returns the number of lines so far."""
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._position)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    self._position += len(line)
                    self.entries.append(msgspec.json.decode(line, type=Entry))
        return len(self.entries)

    def of(self, event: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.event == event]

    def open_works(self) -> list[Entry]:
        """What began and has not ended."""
        ended = {entry.work for entry in self.of("end")}
        return [entry for entry in self.of("begin") if entry.work not in ended]
