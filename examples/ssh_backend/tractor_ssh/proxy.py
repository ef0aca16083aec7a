"""The process that stands for a remote actor on this host. Run as a script, on the standard library alone.

It runs the ssh client and feeds it what it reads from its *order*. Then frames go both ways (see
:mod:`.remote`): it passes on SIGTERM and the ends of *lines* (lifelines), writes what the actor prints and
what comes for *outlets*, fills *files* with what the actor left in its own, and ends as the actor ended.
However it ends itself, the client's standard input ends with it, which over there means: the parent is gone.
The client inherits the outlets, so that whoever waits for the subtree to let go of them waits for the other
host too.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import struct
import subprocess
import sys
import time
from typing import Any, NoReturn

#: What the ssh client exits with when it fails itself, and this with it.
CONNECTION_LOST = 255

#: Exit code where the parent or an ancestor died and no end was reported.
ORPHANED = 128 + signal.SIGHUP

#: How long the other host may take to report an end after an ancestor of it died (seconds).
ORPHAN_GRACE = 1.5

#: Bytes read at once.
READ_SIZE = 64 * 1024

_HEADER = struct.Struct(">cHI")


class Proxy:
    """One connection and all that is passed through it."""

    def __init__(
        self, order: int, lines: list[int], outlets: list[int], files: list[int], command: list[str]
    ) -> None:
        self._lines = lines
        self._outlets = [1, 2, *outlets]
        self._files = files
        self._outbox = bytearray()
        self._inbox = bytearray()
        self._order: int | None = order
        self._clogged = False
        self._connected = False
        self._deadline: float | None = None
        self._wakeup, wakeup_end = os.pipe()
        os.set_blocking(wakeup_end, False)
        signal.set_wakeup_fd(wakeup_end)
        self._ssh = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=outlets, bufsize=0
        )
        assert self._ssh.stdin is not None and self._ssh.stdout is not None
        self._to_ssh, self._from_ssh = self._ssh.stdin.fileno(), self._ssh.stdout.fileno()
        os.set_blocking(self._to_ssh, False)
        self._poll = select.poll()
        for number in (self._from_ssh, self._wakeup):
            self._poll.register(number, select.POLLIN)
        self._read_order_next()
        for number in lines:
            self._poll.register(number, 0)  # only its end is of interest

    def run(self) -> NoReturn:
        """Until the actor has ended, or nothing can be known of it any more."""
        while True:
            for number, _ in self._poll.poll(self._patience()):
                if number == self._wakeup:
                    self._on_signal()
                elif number == self._order:
                    self._read_order(number)
                elif number == self._from_ssh:
                    self._read_frames()
                elif number == self._to_ssh:
                    self._write_outbox()
                elif number in self._lines:
                    self._on_line_end(number)

    def _patience(self) -> float | None:
        if self._deadline is None:
            return None
        left = self._deadline - time.monotonic()
        if left <= 0:
            self._ssh.kill()
            os._exit(ORPHANED)
        return left * 1000

    def _on_signal(self) -> None:
        os.read(self._wakeup, 4096)
        if self._connected:
            self._send(b"S", signal.SIGTERM)
        else:
            # There is nobody over there yet who could end by it.
            self._ssh.kill()
            end_by(-signal.SIGTERM)

    def _on_line_end(self, number: int) -> None:
        self._poll.unregister(number)
        self._send(b"E", self._lines.index(number))
        self._deadline = self._deadline or time.monotonic() + ORPHAN_GRACE

    def _read_order_next(self) -> None:
        """Read the order on, once the client has taken what was read of it."""
        if self._order is not None:
            self._poll.register(self._order, select.POLLIN)

    def _read_order(self, number: int) -> None:
        self._poll.unregister(number)
        data = os.read(number, READ_SIZE)
        if not data:
            self._order = None
        self._outbox += data
        self._write_outbox()

    def _send(self, kind: bytes, index: int) -> None:
        self._outbox += _HEADER.pack(kind, index, 0)
        self._write_outbox()

    def _write_outbox(self) -> None:
        try:
            while self._outbox:
                del self._outbox[: os.write(self._to_ssh, self._outbox)]
        except BlockingIOError:
            self._clogged = True
            self._poll.register(self._to_ssh, select.POLLOUT)
            return
        except BrokenPipeError:
            self._outbox.clear()  # its output ends as well, and tells
        if self._clogged:
            self._clogged = False
            self._poll.unregister(self._to_ssh)
        self._read_order_next()

    def _read_frames(self) -> None:
        data = os.read(self._from_ssh, READ_SIZE)
        if not data:
            self._on_lost()
        self._inbox += data
        while len(self._inbox) >= _HEADER.size:
            kind, index, length = _HEADER.unpack_from(self._inbox)
            if len(self._inbox) < _HEADER.size + length:
                return
            payload = bytes(self._inbox[_HEADER.size : _HEADER.size + length])
            del self._inbox[: _HEADER.size + length]
            if kind == b"P":
                self._connected = True
            elif kind == b"D":
                self._deliver(self._outlets[index], payload)
            elif kind == b"F":
                os.pwrite(self._files[index], payload, 0)
            elif kind == b"X":
                end_by(int(payload))
            else:
                self._ssh.kill()
                sys.exit(f"tractor-core-ssh: the other side does not speak our language ({kind!r})")

    def _deliver(self, number: int, payload: bytes) -> None:
        """Write all, unless the reader has gone, or the parent while the reader takes nothing."""
        poll = select.poll()
        poll.register(number, select.POLLOUT)
        for line in self._lines:
            poll.register(line, 0)
        rest = memoryview(payload)
        while rest:
            ready = dict(poll.poll())
            if number not in ready:
                return
            try:
                # So much a pipe takes without blocking when it says that it takes something.
                rest = rest[os.write(number, rest[: select.PIPE_BUF]) :]
            except OSError:
                return

    def _on_lost(self) -> NoReturn:
        try:
            code = self._ssh.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            self._ssh.kill()
            code = CONNECTION_LOST
        os._exit(code if code > 0 else CONNECTION_LOST)


def end_by(returncode: int) -> NoReturn:
    """Exit with a code, or (negative) by a signal, as :mod:`subprocess` counts."""
    if returncode < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the core, if any, is on the other host
        number = -returncode
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (number,))
        os.kill(os.getpid(), number)
    os._exit(returncode if returncode >= 0 else CONNECTION_LOST)


def main(parameters: dict[str, Any]) -> NoReturn:
    """Ignore what a terminal sends to everybody (the client inherits that) and run."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT,))
    signal.signal(signal.SIGTERM, lambda *_: None)  # the wakeup descriptor tells
    try:
        Proxy(**parameters).run()
    except FileNotFoundError as error:
        print(f"tractor-core-ssh: {error}", file=sys.stderr)
        os._exit(CONNECTION_LOST)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
