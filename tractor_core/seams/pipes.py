"""Writing what a new process is to read from a pipe."""

from __future__ import annotations

import os

import trio


async def write_all(write_end: int, data: bytes | memoryview) -> None:
    """Write all of it, waiting for the reader where it exceeds the pipe's buffer. Makes the end non-blocking.

    A reader that ends before it has read everything is no error here: where it is a process, its exit status
    tells. ``trio.Cancelled`` may come after a part.
    """
    os.set_blocking(write_end, False)
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(write_end, rest) :]
        except BlockingIOError:
            await trio.lowlevel.wait_writable(write_end)
        except BrokenPipeError:
            break
    await trio.lowlevel.cancel_shielded_checkpoint()
