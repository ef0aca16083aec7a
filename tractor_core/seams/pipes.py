"""Writing what a new process is to read from a pipe."""

from __future__ import annotations

import os

import trio

from .spawn import ActorProcess


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


async def write_or_kill(process: ActorProcess, write_end: int, data: bytes | memoryview) -> None:
    """:func:`write_all` to a process just started; killed and reaped where that is cancelled or fails."""
    try:
        await write_all(write_end, data)
    except BaseException:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
        raise
