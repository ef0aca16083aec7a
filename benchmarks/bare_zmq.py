"""What ZeroMQ does alone with large values between two processes of one host: no trio, no encryption.

Neither side copies: the sender's value belongs to the library until it is written, and the receiver gets a
frame of it that nobody reads. The program of the other process is this module too.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import trio
import zmq

from .lines import read_line

#: A round that takes longer (milliseconds) has lost the other process.
_TIMEOUT = 60_000


class BareZmq:
    """A client of the program."""

    def __init__(self, sock: zmq.Socket[bytes]) -> None:
        self._sock = sock

    async def one_way(self, count: int, *, size: int) -> float:
        """Seconds for values in one direction, acknowledged once at the end.

        It blocks: nobody else in this process has anything to do meanwhile.
        """
        sock, value = self._sock, bytes(size)
        await trio.lowlevel.checkpoint()
        begin = time.perf_counter()
        sock.send(b"%d" % count)
        for _ in range(count):
            sock.send(value, copy=False)
        sock.recv()
        return time.perf_counter() - begin


@asynccontextmanager
async def open_bare_zmq(directory: str) -> AsyncIterator[BareZmq]:
    """Start the program and connect to it."""
    command = [sys.executable, "-m", __name__, f"ipc://{directory}/bare.zmq.plain.sock"]
    async with trio.open_nursery() as nursery:
        process = await nursery.start(partial(trio.run_process, command, stdout=subprocess.PIPE, check=False))
        try:
            endpoint = (await read_line(process)).decode().strip()
            with _pair() as sock:
                sock.connect(endpoint)
                yield BareZmq(sock)
        finally:
            nursery.cancel_scope.cancel()


def _pair() -> zmq.Socket[bytes]:
    sock: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PAIR)
    sock.sndtimeo = sock.rcvtimeo = _TIMEOUT
    sock.linger = 0
    return sock


def main(endpoint: str) -> None:
    """Take values until killed."""
    with _pair() as sock:
        sock.rcvtimeo = -1
        sock.bind(endpoint)
        print(endpoint, flush=True)
        while True:
            for _ in range(int(sock.recv())):
                sock.recv(copy=False)
            sock.send(b"done")


if __name__ == "__main__":
    main(sys.argv[1])
