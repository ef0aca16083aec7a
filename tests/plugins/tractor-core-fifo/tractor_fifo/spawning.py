"""The ``posix_spawn`` spawn backend: a fresh interpreter for every actor, without forking this one."""

from __future__ import annotations

import marshal
import os
import signal
import subprocess
import sys

import trio

from tractor_core.seams import ChildProcess, SpawnRequest

#: What ``python -c`` runs; only once ``sys.path`` is the parent's can anything of this package be found.
_LAUNCHER = """\
import marshal, sys
with open({descriptor}, "rb") as pipe:
    try:
        order = marshal.load(pipe)
    except EOFError:  # the parent died or gave up: nobody is left to tell
        sys.exit(1)
sys.path[:] = order["path"]
from tractor_fifo.spawned import main
main(order)
"""


class PosixSpawnBackend:
    """Spawn method ``posix_spawn``. Option ``niceness``: how much lower the actor's priority is (0 to 19)."""

    name = "posix_spawn"

    async def spawn(self, request: SpawnRequest) -> ChildProcess:
        """Start a process. ``ValueError`` for an unknown option; ``OSError`` where the system refuses."""
        niceness = _niceness(request)
        await trio.lowlevel.checkpoint_if_cancelled()
        read_end, write_end = os.pipe()
        try:
            try:
                process = ChildProcess(_start(request, read_end))
            finally:
                os.close(read_end)
            try:
                await _write(write_end, _order(request, niceness))
            except BaseException:
                process.kill()
                with trio.CancelScope(shield=True):
                    await process.wait()
                raise
        finally:
            os.close(write_end)
        return process


def _niceness(request: SpawnRequest) -> int:
    unknown = sorted(set(request.options) - {"niceness"})
    if unknown:
        raise ValueError(f"start method 'posix_spawn' knows the option niceness, not {', '.join(unknown)}")
    niceness = request.options.get("niceness", 0)
    if not isinstance(niceness, int) or not 0 <= niceness <= 19:
        raise ValueError(f"niceness is a number from 0 to 19, not {niceness!r}")
    return niceness


def _order(request: SpawnRequest, niceness: int) -> bytes:
    """All that the new process must know, in a form that it can read before it can import anything.

    Both ends are the same interpreter, which is all that ``marshal`` asks for.
    """
    return marshal.dumps(
        {
            "path": [os.path.abspath(path) for path in sys.path],
            "cwd": request.cwd,
            "niceness": niceness,
            "entry": request.entry,
            "bootstrap": request.bootstrap,
            "descriptors": dict(request.descriptors),
        }
    )


def _start(request: SpawnRequest, order: int) -> int:
    """Start the interpreter, in this very thread; returns its process id.

    SIGINT, which a terminal sends to everybody, is blocked until the new process has come to ignore it.
    """
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    environment = os.environ if request.env is None else request.env
    return os.posix_spawn(
        sys.executable,
        [sys.executable, *flags, "-c", _LAUNCHER.format(descriptor=order)],
        environment,
        # A descriptor copied onto itself is one that the new process inherits.
        file_actions=[
            (os.POSIX_SPAWN_DUP2, number, number) for number in (order, *request.descriptors.values())
        ],
        setsigmask=[*signal.pthread_sigmask(signal.SIG_BLOCK, ()), signal.SIGINT],
        setsigdef=[signal.SIGTERM, signal.SIGPIPE, signal.SIGXFSZ],
    )


async def _write(write_end: int, data: bytes) -> None:
    """Write all of it. A child that ends before it has read everything is no error: its exit status tells."""
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


#: What the entry point ``tractor_core.spawners`` → ``posix_spawn`` names.
backend = PosixSpawnBackend()
