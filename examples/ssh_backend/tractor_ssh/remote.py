"""What runs on the other host: starts the actor, passes on what it prints, and ends it when its parent goes.

Its source comes through the connection, followed by an order in JSON and the bootstrap blob, so nothing of it
needs to be installed over there; it uses the standard library alone. After that both sides send *frames*: a
letter, an index, a length and so many bytes. From the parent's side come ``S`` (a signal for the actor, its
number the index) and ``E`` (the end of a line). To it go ``P`` (the actor was started), ``D`` (bytes for an
outlet, of which the first two are stdout and stderr), ``F`` (what the actor left in a file) and ``X`` (how it
ended).
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import struct
import sys
import tempfile
import time
from typing import IO, Any

#: How long the actor may take to end by itself once the connection is cut (seconds).
GRACE = 0.7

#: How long what the actor started may keep its outlets open after it (seconds).
LINGER = 2.0

READ_SIZE = 64 * 1024

_HEADER = struct.Struct(">cHI")
_HANGUP = getattr(select, "POLLRDHUP", 0)

Pipe = tuple[int, int]


class Keeper:
    """The actor's parent process on its host."""

    def __init__(self, pid: int, lines: list[Pipe], outlets: list[Pipe], files: list[IO[bytes]]) -> None:
        self._pid = pid
        self._files = files
        self._gone = False
        self._inbox = bytearray()
        self._kill_at = self._leave_at = float("inf")
        #: Write ends by index: closing one tells the actor that an ancestor died.
        self._lines = {index: write_end for index, (_, write_end) in enumerate(lines)}
        #: Read ends by number, with the index of each.
        self._outlets = {read_end: index for index, (read_end, _) in enumerate(outlets)}
        self._poll = select.poll()
        self._wakeup, wakeup_end = os.pipe()
        for number in (self._wakeup, wakeup_end, 1, *self._outlets):
            os.set_blocking(number, False)
        signal.set_wakeup_fd(wakeup_end, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (0, self._wakeup, *self._outlets):
            self._poll.register(number, select.POLLIN)

    def run(self) -> None:
        """Until the actor is gone, and what it started has let go."""
        self._send(b"P", 0)
        while not self._look_after():
            until = min(self._kill_at, self._leave_at)
            patience = None if until == float("inf") else max(0.0, until - time.monotonic()) * 1000
            for number, _ in self._poll.poll(patience):
                if number == 0:
                    self._read_frames()
                elif number == self._wakeup:
                    os.read(self._wakeup, 4096)
                elif number in self._outlets:
                    self._pass_on(number)

    def _look_after(self) -> bool:
        """Reap, report and kill what is due; whether all is over."""
        if not self._gone:
            self._reap()
        now = time.monotonic()
        if now >= self._kill_at:
            self._kill_at = float("inf")
            self._signal(signal.SIGKILL)
        return self._gone and (
            now >= self._leave_at or not any(index > 1 for index in self._outlets.values())
        )

    def _reap(self) -> None:
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        if pid == 0:
            return
        self._gone = True
        for number in list(self._outlets):
            while self._pass_on(number):
                pass
        for index, file in enumerate(self._files):
            self._send(b"F", index, os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0))
        self._send(b"X", 0, str(os.waitstatus_to_exitcode(status)).encode())
        self._leave_at = time.monotonic() + LINGER

    def _signal(self, number: int) -> None:
        if not self._gone:
            os.kill(self._pid, number)

    def _read_frames(self) -> None:
        try:
            data = os.read(0, READ_SIZE)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            self._on_cut()
        self._inbox += data
        while len(self._inbox) >= _HEADER.size:
            kind, index, _ = _HEADER.unpack_from(self._inbox)
            del self._inbox[: _HEADER.size]
            if kind == b"S":
                self._signal(index)
            elif kind == b"E":
                self._end_line(index)

    def _on_cut(self) -> None:
        """The connection is gone, or whoever was at its other end."""
        self._poll.unregister(0)
        for index in list(self._lines):
            self._end_line(index)
        self._kill_at = time.monotonic() + GRACE

    def _end_line(self, index: int) -> None:
        if index in self._lines:
            os.close(self._lines.pop(index))
            self._signal(signal.SIGCONT)  # one that is stopped must hear it

    def _pass_on(self, number: int) -> bool:
        """Send on what an outlet holds; whether there may be more."""
        try:
            data = os.read(number, READ_SIZE)
        except BlockingIOError:
            return False
        if data:
            self._send(b"D", self._outlets[number], data)
            return True
        self._poll.unregister(number)
        os.close(number)
        del self._outlets[number]
        return False

    def _send(self, kind: bytes, index: int, payload: bytes = b"") -> None:
        """Write all of it, unless nobody is there any more."""
        rest = memoryview(_HEADER.pack(kind, index, len(payload)) + payload)
        poll = select.poll()
        poll.register(1, select.POLLOUT)
        poll.register(0, _HANGUP)
        while rest:
            if any(number == 0 for number, _ in poll.poll()):
                return
            try:
                rest = rest[os.write(1, rest) :]
            except BlockingIOError:
                continue
            except OSError:
                return


def become_actor(
    order: dict[str, Any], bootstrap: bytes, lines: list[Pipe], outlets: list[Pipe], files: list[IO[bytes]]
) -> int:
    """In the forked process: take the descriptors, the environment and the directory, and call the entry."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    kept = [read_end for read_end, _ in lines] + [write_end for _, write_end in outlets]
    for number in (end for pipe in (*lines, *outlets) for end in pipe):
        if number not in kept:
            os.close(number)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, stream in ((nothing, 0), (outlets[0][1], 1), (outlets[1][1], 2)):
        os.dup2(number, stream)
        os.close(number)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    descriptors = dict(zip(order["lines"], (read_end for read_end, _ in lines), strict=True))
    descriptors |= zip(order["outlets"], (write_end for _, write_end in outlets[2:]), strict=True)
    descriptors |= zip(order["files"], (file.fileno() for file in files), strict=True)
    os.environ.update(order["env"] or {})
    if order["cwd"] is not None:
        os.chdir(order["cwd"])
    sys.path[:0] = order["path"]
    try:
        importlib.import_module("setproctitle").setproctitle(order["title"])
    except ImportError:
        pass  # an optional extra
    module, _, function = order["entry"].partition(":")
    code: int = getattr(importlib.import_module(module), function)(bootstrap, descriptors)
    return code


def read_exactly(size: int) -> bytes:
    """From standard input; exits where it ends before."""
    data = b""
    while len(data) < size:
        piece = os.read(0, min(size - len(data), 1 << 20))
        if not piece:
            sys.exit(1)
        data += piece
    return data


def main() -> None:
    """Read the order, start the actor and keep it."""
    order = json.loads(read_exactly(int.from_bytes(read_exactly(8), "big")))
    bootstrap = read_exactly(order["bootstrap"])
    lines = [os.pipe() for _ in order["lines"]]
    outlets = [os.pipe() for _ in range(2 + len(order["outlets"]))]
    files: list[IO[bytes]] = []
    for _ in order["files"]:
        files.append(tempfile.TemporaryFile(buffering=0))  # noqa: SIM115  # open until this process ends
    pid = os.fork()
    if pid == 0:
        sys.exit(become_actor(order, bootstrap, lines, outlets, files))
    for number in (*(read_end for read_end, _ in lines), *(write_end for _, write_end in outlets)):
        os.close(number)
    Keeper(pid, lines, outlets, files).run()


if __name__ == "__main__":
    main()
