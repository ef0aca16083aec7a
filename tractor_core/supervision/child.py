"""Child: what a supervisor knows of one actor that it owns."""

from __future__ import annotations

import math
from typing import Any

import trio

from tractor_core.errors import ActorDied, ContextCancelled, TransportClosed
from tractor_core.ipc.channel import Channel
from tractor_core.log import get_logger
from tractor_core.msg import types as m
from tractor_core.runtime.actor import Actor
from tractor_core.runtime.call import Call, result_of
from tractor_core.runtime.portal import Portal, request_end
from tractor_core.seams import ActorProcess, ExitStatus

from .last_words import LastWords
from .lifeline import ORPHANED_EXIT_CODE, LifelineHandle, SubtreeGuard
from .process import is_ending, is_halted
from .stderr_capture import StderrCapture

log = get_logger("supervision")

#: How long a broken channel waits for the exit status that explains it (seconds). Where the process stands in
#: for one on another host, several others have to end before it.
EXPLAIN_TIMEOUT = 0.3

#: The same where its process is ending, however long a busy machine takes for that (seconds).
ENDING_TIMEOUT = 0.5

#: How long what is already in the socket of an ended process may take to be read (seconds).
DRAIN_TIMEOUT = 0.2


class MainTask:
    """The one task of a run-once actor."""

    def __init__(self, actor: Actor, call: Call, decode: Any) -> None:
        self._actor = actor
        self._call = call
        self._decode = decode
        self._result: Any = None
        self._error: BaseException | None = None
        self._finished = trio.Event()
        #: Somebody got the error from ``wait_for_result()``: it is theirs.
        self.delivered = False

    async def run(self) -> None:
        """Wait for its end. Cancelling this leaves the remote task to the teardown of its actor."""
        await self._call.wait()
        self.settle()

    def settle(self) -> None:
        """Take what has arrived by now; idempotent."""
        if self._finished.is_set() or not self._call.dialog.done:
            return
        try:
            self._result = self._decode(result_of(self._call.dialog).pld)
        except Exception as error:
            self._error = error
        # Who waits at this moment gets it for certain; who gave up before does not, though it has yet to run.
        self.delivered = self._finished.statistics().tasks_waiting > 0
        self._finished.set()

    @property
    def error(self) -> BaseException | None:
        """What it failed with; being cancelled by this actor is no failure."""
        error = self._error
        if isinstance(error, ContextCancelled) and error.canceller == self._actor.uid:
            return None
        return error

    async def wait_for_result(self) -> Any:
        """The result, or the error; the same every time."""
        await self._finished.wait()
        if self._error is not None:
            self.delivered = True
            raise self._error
        return self._result


class Child:
    """One actor owned by a nursery: its process, channel and what is to be released with it."""

    def __init__(self, actor: Actor, name: str, uuid: str, *, stop_patience: float = math.inf) -> None:
        self.actor = actor
        self.name = name
        self.uuid = uuid
        #: How long it may be stopped before it is taken for dead (seconds).
        self.stop_patience = stop_patience
        #: It was taken for dead while its process was there.
        self.lost = False
        self.process: ActorProcess | None = None
        self.channel: Channel | None = None
        self.portal: Portal | None = None
        self.main: MainTask | None = None
        self.lifeline: LifelineHandle | None = None
        self.guard: SubtreeGuard | None = None
        self.words: LastWords | None = None
        self.capture: StderrCapture | None = None
        #: Cancelled to begin its end.
        self.scope = trio.CancelScope()
        self.hard_kill = False
        #: It is not to be missed: somebody here asked for its end, or its teardown has begun.
        self.end_asked = False
        self.gone = trio.Event()
        self._death: ActorDied | None = None
        #: Why its channel ended, where this actor did not close it.
        self._broken_by: TransportClosed | None = None

    @property
    def uid(self) -> tuple[str, str]:
        return (self.name, self.uuid)

    @property
    def leaving(self) -> bool:
        """Whether it is being ended, or is gone."""
        return self.end_asked or self.gone.is_set()

    def ask_end(self, *, hard_kill: bool = False) -> None:
        """Begin its end; the task that supervises it does the rest."""
        self.end_asked = True
        self.hard_kill = self.hard_kill or hard_kill
        self.scope.cancel()

    def _asked_by_portal(self, channel: Channel, reached: bool) -> None:
        # Another channel to it, dialled by hand and broken since, carried the request to nobody.
        if reached or channel is self.channel:
            self.ask_end()

    def connected(self, channel: Channel) -> Portal:
        """Its channel is there."""
        self.channel = channel
        self.portal = Portal(self.actor, channel)
        self.actor.on_end_asked[self.uuid] = self._asked_by_portal
        return self.portal

    async def request_end(self, time_left: float) -> bool:
        """Ask its runtime to end within ``time_left`` seconds; whether it acknowledged.

        One whose channel has ended is ending by itself, as somebody asked or because it lost its parent:
        SIGTERM would meet it in the middle of its clean-up.
        """
        if self.channel is None:
            return False
        if self.channel.closed:
            return not self.lost
        # One that had its time to answer a cancel is asked all the same, and told by a signal at once.
        patience = 0.0 if self.channel.unresponsive() else math.inf
        return await request_end(self.actor, self.channel, patience, time_left=time_left)

    async def explain(self, channel: Channel, error: TransportClosed) -> TransportClosed:
        """Why its channel ended: usually because its process did."""
        if self.lost:
            return error
        self._broken_by = error
        if self.process is None or self.end_asked:
            return error
        status = None
        ending = self.process.pid is not None and is_ending(self.process.pid)
        with trio.move_on_after(ENDING_TIMEOUT if ending else EXPLAIN_TIMEOUT):
            status = await self.process.wait()
        if status is not None:
            return await self.death(status)
        if channel is not self.channel:
            return error
        if self.process.pid is not None and is_halted(self.process.pid):
            # Some transports notice that sooner than whoever looks now and then.
            self.take_for_dead(f"it has been stopped, and its connection broke ({error})")
        elif channel.given_up is not None:
            # It may compute for ever, and would not learn that it was left.
            self.take_for_dead(str(error))
        return self._death or error

    def left_alone(self, status: ExitStatus) -> bool:
        """Whether it ended because this actor closed the channel to it: that too asks for its end."""
        return status.code == ORPHANED_EXIT_CODE and self._broken_by is None

    async def death(self, status: ExitStatus) -> ActorDied:
        """The error for its unasked end; one object, so that it is raised as one error."""
        if self._death is None and self.capture is not None:
            await self.capture.settle()
        if self._death is None:
            pid = f" (pid {self.process.pid})" if self.process is not None and self.process.pid else ""
            self._death = ActorDied(
                f"actor {self.name!r}{pid} ended unasked: {self._describe(status)}",
                uid=self.uid,
                exit_status=status,
                last_words="" if self.words is None else self.words.read(),
                src_exc=self._broken_by,
            )
        return self._death

    def _describe(self, status: ExitStatus) -> str:
        if status.code == ORPHANED_EXIT_CODE and self._broken_by is not None:
            return f"its connection broke ({self._broken_by})"
        return str(status)

    def take_for_dead(self, reason: str) -> None:
        """Give it up though its process is there: calls to it end at once, the ladder ends the process."""
        if self.end_asked or self.lost:
            return
        self.lost = True
        process = self.process
        pid = f" (pid {process.pid})" if process is not None and process.pid else ""
        self._death = ActorDied(
            f"actor {self.name!r}{pid} is taken for dead: {reason}", uid=self.uid, src_exc=self._broken_by
        )
        for channel in self.actor.peers.get(self.uuid, ()):
            channel.give_up(self._death)
        self.scope.cancel()

    def late_error(self) -> BaseException | None:
        """What its owner must know although it was being ended: that it was lost, or how its task failed."""
        if self.lost and (self.main is None or not self.main.delivered):
            return self._death
        if self.main is None or self.main.delivered:
            return None
        error = self.main.error
        # A channel that broke under a child that was told to go is no failure.
        return None if self.end_asked and isinstance(error, TransportClosed) else error

    async def close_channel(self) -> None:
        """Read what it said last, now that its process has ended, and close. Call this shielded."""
        if self.channel is None:
            return
        with trio.move_on_after(DRAIN_TIMEOUT):
            await self.channel.wait_closed()
        self.channel.abort()
        await self.channel.wait_closed()
        if self.main is not None:
            self.main.settle()

    def release(self) -> None:
        """Let go of everything that outlives its process; idempotent."""
        self.actor.secrets.forget(self.uuid)
        if self.lifeline is not None:
            self.lifeline.close()
        if self.guard is not None:
            self.guard.close()
        if self.capture is not None:
            self.capture.close()
        if self.words is not None:
            self.words.close()
        self.actor.explain_closing(self.uuid, None)
        self.actor.on_end_asked.pop(self.uuid, None)
        self.gone.set()


class BootSink:
    """Takes what a child says while it boots: ``Ready``, or the ``Error`` that kept it from it."""

    def __init__(self) -> None:
        self.answer: m.Ready | m.Error | TransportClosed | None = None
        self._arrived = trio.Event()

    def deliver(self, message: Any) -> None:
        if isinstance(message, m.Ready | m.Error) and self.answer is None:
            self.answer = message
            self._arrived.set()

    def cut(self, error: TransportClosed) -> None:
        if self.answer is None:
            self.answer = error
            self._arrived.set()

    async def wait(self) -> m.Ready | m.Error | TransportClosed:
        await self._arrived.wait()
        assert self.answer is not None
        return self.answer
