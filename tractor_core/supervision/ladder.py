"""The teardown ladder: ask, wait, then force, one child at a time."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import trio

from tractor_core.seams.spawn import ActorProcess, ExitStatus

from .policy import Budget, TeardownPolicy
from .process import is_stopped

logger = logging.getLogger(__name__)

#: How long a process that was killed may take to be gone (seconds). Only one that waits for hardware in the
#: kernel, or whose backend has lost it, takes longer than a moment: it is left to the system then.
GONE_AFTER_KILL = 30.0


async def teardown(
    process: ActorProcess,
    *,
    request: Callable[[float], Awaitable[bool]],
    policy: TeardownPolicy,
    time_left: float | None = None,
    hard_kill: bool = False,
    hold: Callable[[], Awaitable[object]] | None = None,
    stopped: Callable[[int], bool] = is_stopped,
) -> ExitStatus:
    """End ``process`` and reap it; returns how it ended.

    ``request(seconds)`` asks the child to end within so many seconds and returns whether it acknowledged;
    it is cancelled after ``policy.ack`` seconds, and an exception from it counts as "no". ``time_left``
    is what this actor itself was given (None: no limit). A child that does not acknowledge gets SIGTERM
    at once, one that does gets it when its time is over, and SIGKILL follows ``policy.terminate`` later.
    One that is found stopped is killed at once: it cannot act on anything else.

    ``hold`` is awaited before any force is used, and not bounded (somebody sits at a debugger);
    ``hard_kill`` skips it and everything else before SIGKILL. Shielded from the caller's cancellation, and
    bounded: a process that not even SIGKILL ends within :data:`GONE_AFTER_KILL` is given up, with a line in
    the log and a status that says nothing.
    """
    with trio.CancelScope(shield=True):
        status: ExitStatus | None = None
        escalation = _Escalation(process, policy, policy.budget(time_left), request, hold, stopped)
        async with trio.open_nursery() as nursery:
            if process.poll() is None:
                nursery.start_soon(escalation.kill if hard_kill else escalation.run, nursery.cancel_scope)
            status = await process.wait()
            nursery.cancel_scope.cancel()
    if status is None:
        logger.error("pid %s is not gone %g s after it was killed", process.pid, GONE_AFTER_KILL)
        return ExitStatus(note="not seen to end")
    return status


class _Escalation:
    """The steps against one child; cancelled as soon as it has ended."""

    def __init__(
        self,
        process: ActorProcess,
        policy: TeardownPolicy,
        budget: Budget,
        request: Callable[[float], Awaitable[bool]],
        hold: Callable[[], Awaitable[object]] | None,
        stopped: Callable[[int], bool],
    ) -> None:
        self._process = process
        self._policy = policy
        self._budget = budget
        self._request = request
        self._hold = hold
        self._stopped = stopped

    async def run(self, waiting: trio.CancelScope) -> None:
        """Ask, and use force; see :meth:`kill`."""
        started = trio.current_time()
        if not self._is_stopped() and await self._ask():
            await trio.sleep_until(started + self._budget.sigterm_at)
        await self._wait_for_hold()
        if not self._is_stopped():
            self._process.terminate()
            await trio.sleep(self._budget.sigkill_at - self._budget.sigterm_at)
        await self.kill(waiting)

    async def kill(self, waiting: trio.CancelScope) -> None:
        """The last step; ``waiting`` for the end is cancelled where even that does not help."""
        self._process.kill()
        await trio.sleep(GONE_AFTER_KILL)
        waiting.cancel()

    async def _ask(self) -> bool:
        with trio.move_on_after(min(self._policy.ack, self._budget.sigterm_at)):
            try:
                return await self._request(self._budget.sigterm_at)
            except Exception as error:
                # The usual one is a channel that broke; the process may live on all the same.
                logger.debug("request to end pid %s failed: %r", self._process.pid, error)
        return False

    async def _wait_for_hold(self) -> None:
        if self._hold is None:
            return
        try:
            await self._hold()
        except Exception:
            logger.exception("waiting before force against pid %s failed", self._process.pid)

    def _is_stopped(self) -> bool:
        return self._process.pid is not None and self._stopped(self._process.pid)
