"""ZeroMQ sockets under trio, without a task of their own.

``ZMQ_FD`` is edge-triggered: it becomes readable when something *may* have changed, and any call on
the socket, a send included, may use that up. So whoever wakes reads everything there is, and whoever
sends looks afterwards (:meth:`Pump.check`).

Trio allows one task to wait for a descriptor, and several have reasons to: one that receives, one
that waits for credit, the listener. Whoever comes first *drives*: waits for the descriptor and does
the work for all. The others *follow*, and one of them takes over when the driver leaves.
"""

from __future__ import annotations

import selectors
from collections.abc import Callable, Sequence
from typing import Any

import trio
import zmq
from trio.lowlevel import checkpoint, notify_closing, wait_readable

from .options import readable


class Seat:
    """The place of one waiting task in a pump."""

    __slots__ = ()


class Pump:
    """Runs ``work()`` whenever one of the sockets may have something.

    ``work()`` reads what there is, up to a limit; it returns True when it stopped at the limit.
    """

    __slots__ = (
        "_descriptor", "_driver", "_followers", "_selector", "_unfinished", "_work", "_working", "closed",
    )  # fmt: skip

    def __init__(self, sockets: Sequence[zmq.Socket[bytes]], work: Callable[[], bool]) -> None:
        # One descriptor for all the sockets: epoll and kqueue instances can themselves be waited for.
        self._selector = selectors.DefaultSelector()
        for sock in sockets:
            self._selector.register(sock.FD, selectors.EVENT_READ)
        self._descriptor = self._selector.fileno()
        self._work = work
        self._working = False
        self._driver: Seat | None = None
        self._followers: dict[Seat, trio.lowlevel.Task] = {}
        # Nobody has looked yet, so an edge may be gone already.
        self._unfinished = True
        self.closed = False

    async def until(self, seat: Seat, ready: Callable[[], Any]) -> None:
        """Wait until ``ready()``; it must become true no later than the pump is closed.

        Passes through a checkpoint unless it is true already. Cancellable at any moment.
        """
        try:
            while not ready():
                if self._driver is None:
                    await self._drive(seat)
                else:
                    await self._follow(seat)
        finally:
            self._hand_over()

    def wake(self, seat: Seat) -> None:
        """Make the task that waits there, if one does, look at its condition again."""
        task = self._followers.pop(seat, None)
        if task is not None:
            trio.lowlevel.reschedule(task)
        elif self._driver is seat:
            self._interrupt()

    def check(self, sock: zmq.Socket[bytes]) -> None:
        """To be called after sending on ``sock``: sending may have used up the edge."""
        if not self._working and not self.closed and readable(sock):
            self._run()
            if self._unfinished:
                self._interrupt()

    def close(self) -> None:
        """Stop; every waiting task looks at its condition again. Idempotent."""
        if self.closed:
            return
        self._interrupt()
        self.closed = True
        self._selector.close()
        for seat in list(self._followers):
            self.wake(seat)

    async def _drive(self, seat: Seat) -> None:
        if self.closed:
            raise trio.ClosedResourceError("the sockets were closed")
        self._driver = seat
        try:
            if self._unfinished:
                await checkpoint()
            else:
                await wait_readable(self._descriptor)
        except trio.ClosedResourceError:
            pass  # interrupted by another task
        finally:
            self._driver = None
        if not self.closed:
            self._run()

    async def _follow(self, seat: Seat) -> None:
        self._followers[seat] = trio.lowlevel.current_task()

        def abort(_: Any) -> trio.lowlevel.Abort:
            self._followers.pop(seat, None)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def _run(self) -> None:
        self._working = True
        try:
            self._unfinished = self._work()
        finally:
            self._working = False

    def _hand_over(self) -> None:
        if self._driver is None and self._followers:
            self.wake(next(iter(self._followers)))

    def _interrupt(self) -> None:
        """Wake the driver, without closing anything: this is how trio lets another task do that."""
        # Once closed, the number may be somebody else's; and the driver is on its way already.
        if self._driver is not None and not self.closed:
            notify_closing(self._descriptor)
