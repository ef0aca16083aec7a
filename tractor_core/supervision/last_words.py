"""Last words: what a child wrote to its standard error before it ended, and where it was when it crashed.

Parent and child have a file in memory together. The child's ``sys.stderr`` writes to where it always did and,
besides, into a ring at the head of that file; behind the ring :mod:`faulthandler` writes its report if a
fatal signal ends the process. So nothing can block, nothing depends on either side being alive or able
to run, and all that a line of output costs in addition are two system calls that touch no disk. What C code
writes to descriptor 2 by itself is not in it: see :class:`~.stderr_capture.StderrCapture` for that.
"""

from __future__ import annotations

import faulthandler
import io
import os
import sys
import tempfile
from typing import Any, Final

#: Name of the descriptor by which a child finds the file.
LAST_WORDS: Final = "last_words"

#: How much of what was written last is kept (bytes), and how much of it, and of a report, is shown (lines).
RING_SIZE: Final = 4096
MOST_LINES: Final = 20

#: Longest line that is shown (characters).
MOST_COLUMNS: Final = 500

#: At the head of the file: how many bytes the ring has ever been given.
_COUNT_SIZE: Final = 8

#: Where the crash report begins, and how much of it is read.
_REPORT_AT: Final = _COUNT_SIZE + RING_SIZE
_REPORT_SIZE: Final = 8192

#: How the interpreter's reports begin, its own and those of :mod:`faulthandler`.
_CRASH: Final = "Fatal Python error:"


class Ring:
    """The writer's view of the file at ``descriptor``, which it does not own.

    For one writer at a time; threads that write at once may spoil each other's lines here, and nothing else.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._count = 0
        self._pid = os.getpid()

    def add(self, data: bytes | memoryview) -> None:
        """Keep ``data``, in place of what is oldest. Never raises, and does nothing in forked copies."""
        if os.getpid() != self._pid:
            return
        kept = data[-RING_SIZE:]
        self._count += len(data) - len(kept)
        start = self._count % RING_SIZE
        first = kept[: RING_SIZE - start]
        self._count += len(kept)
        try:
            os.pwrite(self._descriptor, first, _COUNT_SIZE + start)
            if len(first) < len(kept):
                os.pwrite(self._descriptor, kept[len(first) :], _COUNT_SIZE)
            os.pwrite(self._descriptor, self._count.to_bytes(_COUNT_SIZE, "little"), 0)
        except OSError:
            pass  # somebody closed it; standard error itself is what matters


class LastWords:
    """The parent's end: the file, made before the child is started. ``OSError`` without descriptors."""

    def __init__(self) -> None:
        self._descriptor: int | None = _memory_file()

    @property
    def descriptor(self) -> int:
        """What the child inherits as :data:`LAST_WORDS`."""
        if self._descriptor is None:
            raise ValueError("these last words were closed")
        return self._descriptor

    def read(self) -> str:
        """The last lines and the crash report, as far as there are any; empty once closed."""
        if self._descriptor is None:
            return ""
        content = os.pread(self._descriptor, _REPORT_AT + _REPORT_SIZE, 0)
        lines = [*_lines(_unrolled(content)), *_lines(content[_REPORT_AT:])]
        # Of a report it is the beginning that tells most: which error, and where the culprit was.
        crash = next((at for at, line in enumerate(lines) if line.startswith(_CRASH)), len(lines))
        return "\n".join([*lines[:crash][-MOST_LINES:], *lines[crash:][:MOST_LINES]])

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def record_crash(descriptor: int) -> None:
    """In the child: have a fatal signal's report written behind the ring.

    Not where :mod:`faulthandler` is enabled already: its report then goes where the user wants it.
    """
    if not faulthandler.is_enabled():
        os.lseek(descriptor, _REPORT_AT, os.SEEK_SET)
        faulthandler.enable(descriptor)


def record_stderr(descriptor: int) -> None:
    """In the child: have ``sys.stderr`` also write into the ring.

    It stays an ordinary text stream on descriptor 2. One that is something else already is left alone.
    """
    stream: Any = sys.stderr
    if type(stream) is not io.TextIOWrapper or not _is_standard(stream):
        return
    stream.flush()
    file = _RecordedFile(Ring(descriptor))
    # With "python -u" there is no buffer.
    unbuffered = isinstance(stream.buffer, io.RawIOBase)
    copy = io.TextIOWrapper(
        file if unbuffered else io.BufferedWriter(file),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
    copy.mode = "w"  # type: ignore[misc]  # what the interpreter says of its own
    sys.stderr = copy


class _RecordedFile(io.FileIO):
    """Descriptor 2, each write to which is recorded."""

    def __init__(self, ring: Ring) -> None:
        super().__init__(2, "w", closefd=False)
        self.name = "<stderr>"
        self._ring = ring

    def write(self, data: Any) -> int:
        try:
            written = super().write(data)
        except OSError:
            # A terminal that hung up: all the more reason to keep it.
            self._ring.add(data)
            raise
        self._ring.add(data[: written or 0])
        return written


def _is_standard(stream: io.TextIOWrapper) -> bool:
    try:
        return stream.fileno() == 2
    except (OSError, ValueError):
        return False


def _memory_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("tractor-last-words", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _unrolled(content: bytes) -> bytes:
    """The ring's bytes in the order in which they were written, from the first whole line on.

    Where nothing follows the first newline the last line is longer than the ring: then its tail, since
    where it began is lost anyway.
    """
    count = int.from_bytes(content[:_COUNT_SIZE], "little")
    ring = content[_COUNT_SIZE:_REPORT_AT]
    if count <= RING_SIZE:
        return ring[:count]
    start = count % RING_SIZE
    written = ring[start:] + ring[:start]
    rest = written.partition(b"\n")[2]
    return rest if rest.strip() else written.rstrip()[-MOST_COLUMNS:]


def _lines(text: bytes) -> list[str]:
    lines = (line.rstrip()[:MOST_COLUMNS] for line in text.decode(errors="replace").splitlines())
    return [line for line in lines if line]
