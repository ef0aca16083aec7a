"""Lifelines: pipes by which a process learns that another has ended, whatever ended it.

A *lifeline* is a pipe whose write end only the parent holds. The kernel closes it when the parent dies, in
whatever way, and a thread in the child that waits for the end of file begins the child's own end. A child
watches the lifelines of its ancestors too, whose read ends it inherits: a parent that cannot run Python at
the moment passes no news on. A *subtree guard* is the reverse: a pipe whose write end a child and all its
descendants hold, and whose end of file tells the parent that the last of them has gone.

All ends are closed on exec, and the write ends of lifelines in a process that a user's ``os.fork()`` made (as
pools of processes do): it is not the parent of this actor's children, and must not keep them from noticing
its death. It does keep the ancestors from seeing the subtree gone until it ends, being part of it.
"""

from __future__ import annotations

import os
import select
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import trio

#: Exit code of an actor whose parent died and that did not end by itself within its grace.
ORPHANED_EXIT_CODE: Final = 128 + signal.SIGHUP

#: Names of the descriptors that carry subtree guards: "subtree.0" and so on.
GUARD_PREFIX: Final = "subtree."

#: Name of the descriptor that is an actor's own lifeline; those of its ancestors are "lifeline.0" and so on.
LIFELINE: Final = "lifeline"


class LifelineHandle:
    """The parent's end of one child's lifeline. Thread-safe."""

    def __init__(self, registry: Lifeline, write_end: int) -> None:
        self._registry = registry
        self._write_end: int | None = write_end
        self._pid: int | None = None

    def attach(self, pid: int | None) -> None:
        """Record the child's process id, once known, so that it can be woken if it is stopped."""
        self._pid = pid

    def close(self) -> None:
        """Let go, once the child is reaped; one that still runs takes its parent for dead. Idempotent."""
        self._registry._close(self)


#: The lifelines of every actor in this process: a fork copies the descriptors of all of them.
_held_here: weakref.WeakSet[Lifeline] = weakref.WeakSet()


class Lifeline:
    """An actor's lifelines to its children. Every method may be called from any thread."""

    def __init__(self) -> None:
        # Held for a few system calls at most, so that the watcher thread never waits for a blocked loop.
        self._lock = threading.Lock()
        self._handles: set[LifelineHandle] = set()
        self._closed = False
        _held_here.add(self)

    def open(self) -> tuple[int, LifelineHandle]:
        """A new lifeline: its read end and its handle.

        The child inherits the read end; the caller closes its own copy after spawning.
        ``RuntimeError`` after ``close_all()``; ``OSError`` without descriptors.
        """
        with self._lock:
            if self._closed:
                raise RuntimeError("this actor is ending; it starts no more children")
            read_end, write_end = os.pipe()
            handle = LifelineHandle(self, write_end)
            self._handles.add(handle)
        return read_end, handle

    def pids(self) -> list[int]:
        """The process ids of the children that are held, as far as they are known."""
        with self._lock:
            return [handle._pid for handle in self._handles if handle._pid is not None]

    def close_all(self) -> None:
        """Tell all children that their parent is gone, and wake those that are stopped to hear it."""
        self.wake_all()
        with self._lock:
            for handle in list(self._handles):
                self._close_locked(handle)

    def wake_all(self) -> None:
        """Wake children that are stopped: an ancestor, whose lifeline they watch too, is gone.

        No more children can be started then.
        """
        with self._lock:
            self._closed = True
        for pid in self.pids():
            try:
                os.kill(pid, signal.SIGCONT)
            except OSError:
                pass  # ended meanwhile

    def _close(self, handle: LifelineHandle) -> None:
        with self._lock:
            self._close_locked(handle)

    def _close_locked(self, handle: LifelineHandle) -> None:
        self._handles.discard(handle)
        if handle._write_end is not None:
            os.close(handle._write_end)
            handle._write_end = None

    def _forget_in_copy(self) -> None:
        """This is a forked copy of the actor's process: let go of what only that may hold."""
        # Another thread may have held the lock at that moment; only this one was copied.
        self._lock = threading.Lock()
        self._closed = True
        for handle in list(self._handles):
            self._close_locked(handle)


def _forget_in_copies() -> None:
    for lifeline in list(_held_here):
        lifeline._forget_in_copy()


os.register_at_fork(after_in_child=_forget_in_copies)


def watch_parent(
    *descriptors: int, registry: Lifeline, on_orphaned: Callable[[], None], grace: float = 1.0
) -> threading.Thread:
    """Start the thread that waits for the death of the parent or of an ancestor, at the read ends given.

    Everything below watches the same pipes, so that the graces of all levels run at the same time. The thread
    first wakes those of this actor's own children, in ``registry``, that are stopped; then it calls
    ``on_orphaned``, which must not block and would usually schedule the actor's cancellation in its loop; and
    ``grace`` seconds later it ends the process with ``os._exit``, whatever else that is doing. It cannot end
    a process that is stopped, or whose interpreter lock some C code never lets go.
    """
    thread = threading.Thread(
        target=_watch,
        args=(descriptors, registry, on_orphaned, grace),
        name="tractor-lifeline",
        daemon=True,
    )
    thread.start()
    return thread


def _watch(
    descriptors: Iterable[int], registry: Lifeline, on_orphaned: Callable[[], None], grace: float
) -> None:
    poll = select.poll()
    for descriptor in descriptors:
        # No events asked for: what anybody writes is noise, and the end is always reported.
        poll.register(descriptor, 0)
    poll.poll()
    deadline = time.monotonic() + grace
    try:
        registry.wake_all()
        on_orphaned()
    except Exception:
        # The loop may be over already (trio.RunFinishedError), and nothing may keep this thread from
        # its last line.
        pass
    time.sleep(max(0.0, deadline - time.monotonic()))
    os._exit(ORPHANED_EXIT_CODE)


class SubtreeGuard:
    """Tells when one child and everything below it has gone. Belongs to the thread that runs trio.

    Pass ``write_end`` to the child (see :func:`guard_descriptors`), call ``spawned()`` when it has been
    started, reap it, await ``wait_gone()``, and ``close()`` in any case.
    """

    def __init__(self) -> None:
        read_end, write_end = os.pipe()
        self._read_end: int | None = read_end
        self._write_end: int | None = write_end
        os.set_blocking(read_end, False)

    @property
    def write_end(self) -> int:
        """What the child inherits. ``RuntimeError`` once it was given away."""
        if self._write_end is None:
            raise RuntimeError("the child was already spawned")
        return self._write_end

    def spawned(self) -> None:
        """Close this process's own copy of the write end: only the subtree holds it now."""
        if self._write_end is not None:
            os.close(self._write_end)
            self._write_end = None

    async def wait_gone(self, timeout: float) -> bool:
        """Wait at most ``timeout`` seconds; whether the whole subtree has gone. One waiter at a time."""
        self.spawned()
        if self._read_end is None:
            raise trio.ClosedResourceError("this guard was closed")
        with trio.move_on_after(timeout):
            while not self._at_end(self._read_end):
                await trio.lowlevel.wait_readable(self._read_end)
            return True
        return False

    def close(self) -> None:
        """Release both ends. Idempotent."""
        self.spawned()
        if self._read_end is not None:
            trio.lowlevel.notify_closing(self._read_end)
            os.close(self._read_end)
            self._read_end = None

    @staticmethod
    def _at_end(read_end: int) -> bool:
        try:
            while os.read(read_end, 4096):
                pass  # nobody writes on purpose
        except BlockingIOError:
            return False
        return True


def inherited_guards(descriptors: Mapping[str, int]) -> tuple[int, ...]:
    """The write ends of its ancestors' guards among what a child inherited, to be passed on to its own."""
    return tuple(number for name, number in descriptors.items() if name.startswith(GUARD_PREFIX))


def guard_descriptors(inherited: Iterable[int], own: SubtreeGuard) -> dict[str, int]:
    """What a new child must inherit, by name: its ancestors' guards and the one its parent made for it."""
    return {f"{GUARD_PREFIX}{index}": number for index, number in enumerate((*inherited, own.write_end))}


def inherited_lifelines(descriptors: Mapping[str, int]) -> tuple[int, ...]:
    """The lifelines among what a child inherited, its own first."""
    ancestors = [number for name, number in descriptors.items() if name.startswith(f"{LIFELINE}.")]
    return (*(number for name, number in descriptors.items() if name == LIFELINE), *ancestors)


def lifeline_descriptors(inherited: Iterable[int], own: int) -> dict[str, int]:
    """What a new child must inherit, by name: the read ends of its parent's lifelines and of its own."""
    return {LIFELINE: own, **{f"{LIFELINE}.{index}": number for index, number in enumerate(inherited)}}


def is_orphaned(lifelines: Iterable[int]) -> bool:
    """Whether the parent or an ancestor is gone."""
    poll = select.poll()
    for descriptor in lifelines:
        poll.register(descriptor, 0)
    return bool(poll.poll(0))
