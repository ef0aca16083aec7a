"""Starts actors with :class:`subprocess.Popen`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from tractor_core.seams import SpawnRequest
from tractor_core.seams.pipes import write_or_kill

from .child import LENGTH_SIZE, launcher, pack_header
from .process import SubprocessActor


class SubprocessBackend:
    """Spawn method ``subprocess``: portable, and nothing is shared with the parent but what it passes on.

    The child runs the same interpreter with the same flags and ``sys.path``. It shares stdin, stdout,
    stderr, the process group and the terminal with its parent. It takes no options.
    """

    name = "subprocess"

    async def spawn(self, request: SpawnRequest) -> SubprocessActor:
        """Start a process for ``request``.

        ``ValueError`` for any option; ``OSError`` where the system refuses.
        """
        if request.options:
            given = ", ".join(sorted(request.options))
            raise ValueError(f"start method {self.name!r} takes no options, got: {given}")
        await trio.lowlevel.checkpoint_if_cancelled()
        header = pack_header(
            search_path=sys.path,
            entry=request.entry,
            title=request.title,
            descriptors=request.descriptors,
        )
        read_end, write_end = os.pipe()
        try:
            try:
                process = SubprocessActor(_start(request, read_end))
            finally:
                os.close(read_end)
            blob = request.bootstrap
            await write_or_kill(process, write_end, header + len(blob).to_bytes(LENGTH_SIZE, "big") + blob)
        finally:
            os.close(write_end)
        return process


def _start(request: SpawnRequest, bootstrap: int) -> subprocess.Popen[bytes]:
    """Fork and exec, in this very thread.

    A parent-death signal fires when the *thread* that forked ends, so a worker thread, which retires when
    idle, will not do; the few milliseconds until exec are spent here.
    """
    if not sys.executable:
        raise RuntimeError("sys.executable is empty: no interpreter to start actors with")
    # The standard library's own notion of "the same flags", the one multiprocessing uses.
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    with _sigint_blocked():
        return subprocess.Popen(
            [sys.executable, *flags, "-c", launcher(bootstrap)],
            pass_fds=(bootstrap, *request.descriptors.values()),
            env=request.env,
            cwd=request.cwd,
        )


@contextmanager
def _sigint_blocked() -> Iterator[None]:
    """A child inherits the mask, and unblocks SIGINT once it ignores it.

    One meant for the parent stays pending for the moment.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


#: What the entry point names.
backend = SubprocessBackend()
