"""Talking with a program line by line."""

from __future__ import annotations

import trio


async def read_line(process: trio.Process) -> bytes:
    """What it prints next, to the end of a line; less, or nothing, if it ends.

    It prints one line at a time and waits, so nothing after the end of a line is read.
    """
    assert process.stdout is not None
    line = b""
    while not line.endswith(b"\n"):
        more = await process.stdout.receive_some()
        if not more:
            break
        line += more
    return line


async def ask(process: trio.Process, question: str) -> bytes:
    """Send a line and read one."""
    assert process.stdin is not None
    await process.stdin.send_all(f"{question}\n".encode())
    return await read_line(process)
