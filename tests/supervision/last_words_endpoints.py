"""Ways to end with something said before it. Imported by the processes of the tests by name."""

from __future__ import annotations

import ctypes
import os
import sys
import time

MODULE = __name__


async def say_and_exit(lines: int) -> None:
    for number in range(lines):
        print(f"line {number}", file=sys.stderr)
    os._exit(3)


async def crash() -> None:
    ctypes.string_at(0)


async def abort() -> None:
    os.write(2, b"what C code says\n")
    os.abort()


async def fatal_error() -> None:
    ctypes.pythonapi.Py_FatalError(b"beyond repair")


async def flood(size: int, begun: str, go: str, done: str) -> None:
    """Make a file, wait for another, write so many bytes to descriptor 2, and make a third."""
    with open(begun, "w"):
        pass
    while not os.path.exists(go):
        time.sleep(0.01)
    for _ in range(size // 100):
        os.write(2, b"x" * 99 + b"\n")
    with open(done, "w"):
        pass


async def facts_of_stderr() -> tuple[str, int, str, bool, bool, bool]:
    stream = sys.stderr
    return (
        stream.name,
        stream.fileno(),
        stream.mode,
        stream.line_buffering,
        stream.write_through,
        stream.isatty(),
    )


async def complain_as_an_orphan(path: str) -> None:
    """Write to standard error all the time, without ever returning to the loop; note the first failure.

    It ends a moment after its parent has, well before what an orphan is given.
    """
    parent = os.getppid()
    try:
        while os.getppid() == parent:
            sys.stderr.write("still here\n")
            time.sleep(0.01)
        for _ in range(10):
            sys.stderr.write("still here, and alone\n")
            time.sleep(0.01)
    except OSError as error:
        with open(path, "w") as file:
            file.write(repr(error))
    with open(path + ".ended", "w"):
        pass
    print("farewell", file=sys.stderr)
