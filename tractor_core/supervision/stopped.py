"""Children that are stopped while their parent runs: noticed, and taken for dead after a while.

A process under SIGSTOP neither answers nor ends, and over most transports nobody can tell it from one that
computes. Its parent can, on systems with ``/proc``.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import trio

from tractor_core.runtime.actor import Actor

from .child import Child
from .process import is_halted

#: Seconds between two looks. Reading one child's state takes some 20 us.
PERIOD = 1.0


class _Watched(msgspec.Struct):
    child: Child
    pid: int
    #: What its channel had heard at the last look.
    heard: int = -1
    #: For how long it has been seen to be stopped; None while it runs (seconds).
    stopped_for: float | None = None


class StoppedChildren:
    """Looks at an actor's children from time to time, in one task, while there are any.

    Only time in which this actor itself ran counts: when a terminal stops the whole tree (Ctrl-Z) and lets it
    go on, the parent has seen nothing of it. A child that a debugger holds (state ``t``) is not stopped.
    """

    def __init__(self, actor: Actor, *, halted: Callable[[int], bool] = is_halted) -> None:
        self._actor = actor
        self._halted = halted
        self._watched: list[_Watched] = []

    def watch(self, child: Child) -> None:
        """Look after a child until it is gone; its process is there. Without a process id nothing is done."""
        if child.process is None or child.process.pid is None:
            return
        self._watched.append(_Watched(child, child.process.pid))
        if len(self._watched) == 1:
            self._actor.network.start_soon(self._run, name="stopped children")

    async def _run(self) -> None:
        looked_at = trio.current_time()
        while self._watched:
            await trio.sleep(PERIOD)
            now = trio.current_time()
            elapsed, looked_at = now - looked_at, now
            self._watched = [each for each in self._watched if not each.child.leaving]
            for watched in self._watched:
                # A look that comes late says that this loop did not run: that is not the child's doing.
                self._look(watched, elapsed if elapsed < 2 * PERIOD else 0.0)

    def _look(self, watched: _Watched, elapsed: float) -> None:
        child = watched.child
        before, watched.heard = watched.heard, 0 if child.channel is None else child.channel.heard
        if not self._halted(watched.pid):
            watched.stopped_for = None
        elif watched.stopped_for is None or watched.heard != before:
            # From now on: what it has said, it may have said before it was stopped.
            watched.stopped_for = 0.0
        else:
            watched.stopped_for += elapsed
            if watched.stopped_for >= child.stop_patience:
                child.take_for_dead(f"it has been stopped for {watched.stopped_for:.3g} s")
