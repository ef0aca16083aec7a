"""Workers: tasks that run calls for peers, each one after the other.

A task of its own for each call costs 10 us with the scope that cancels it, more than all the rest of a small
call; one that is there already costs 2.3 us. A call notices nothing of those before it: it has context
variables of its own, and a worker is used again only after a call that returned its result and left the
worker as it found it. Where hooks are told of calls none is: they see the scope, and may do with it at any
time what concerns that one call.
"""

from __future__ import annotations

from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any

import trio

from tractor_core.errors import MsgTypeError
from tractor_core.msg import types as m
from tractor_core.msg.boxing import of_runtime
from tractor_core.protocol.dialog import DONE

from .call import error_of
from .serving import Answer, ServedCall, conclude, encoded_result, send_result

if TYPE_CHECKING:
    from .actor import Actor

#: How many workers are kept for later calls: those of a burst of this many callers.
KEPT = 64

_IDLE_NAME = "waiting for a call"


class Workers:
    """Runs calls for peers, in as many tasks of the actor's service nursery as there are calls at a time."""

    def __init__(self, actor: Actor) -> None:
        self.actor = actor
        #: Who has nothing to do; the last to become so has the next call.
        self.idle: list[Worker] = []
        #: Theirs meanwhile: what the last call has set lives no longer than the call.
        self.context = Context()

    def run(self, served: ServedCall, name: str) -> None:
        """Run a call soon, with the context variables of whoever calls this; ``name`` is its task's."""
        if not self.idle:
            worker = Worker(self, served)
            self.actor.service.start_soon(worker.run, name=name)
            return
        worker = self.idle.pop()
        task = worker.task
        task.context = copy_context()
        task.name = name
        worker.take(served)
        trio.lowlevel.reschedule(task)


class Worker:
    """One task."""

    __slots__ = ("_scope", "_served", "_untouched", "_workers", "task")

    task: trio.lowlevel.Task

    def __init__(self, workers: Workers, served: ServedCall) -> None:
        self._workers = workers
        self._scope = trio.CancelScope()
        self._untouched: object = None
        self.take(served)

    def take(self, served: ServedCall) -> None:
        """Have ``served`` as the next call."""
        self._served: ServedCall | None = served
        served.scope = self._scope

    async def run(self) -> None:
        """Answer calls until one has failed, was cancelled or left something behind."""
        task = self.task = trio.lowlevel.current_task()
        answer: Answer | None = None
        error: BaseException | None = None
        try:
            with self._scope:
                self._untouched = _innermost_scope(task)
                while (answer := await self._serve()) is None:
                    self._rest()
                    await trio.lowlevel.wait_task_rescheduled(self._abort)
        except BaseException as raised:
            if self._served is None:
                raise
            answer, error = None, raised
        served = self._served
        assert served is not None
        actor = self._workers.actor
        try:
            conclude(actor, served, answer, error)
        finally:
            if actor.plugins.dialog_closed:
                actor.plugins.notify("tractor_dialog_closed", context=served, outcome=error_of(served.dialog))

    async def _serve(self) -> Answer | None:
        """Run the call; None where it was answered, or what to answer once its scope has been left."""
        served = self._served
        assert served is not None
        dialog, channel, check = served.dialog, served.chan, served.check
        plugins = self._workers.actor.plugins
        if plugins.dialog_opened:
            plugins.notify("tractor_dialog_opened", context=served)
        dialog.run()
        result: Any = await served.fn(*served.args, **served.kwargs)
        cid = dialog.cid
        frame = None
        if dialog.state is not DONE:
            try:
                frame = channel.encode(m.Return(cid, result if check is None else check(result)))
            except MsgTypeError as error:
                of_runtime(error, dialog)
                raise
            if channel.clogged(cid, len(frame)):
                frame = None  # what waits is the value, and not twice
                frame = await encoded_result(served, result, check)
        # Whether another call would find this task as this one has found it.
        untouched = self._untouched
        if (
            served.cancelled
            or served.failure is not None
            or untouched is None
            or _innermost_scope(self.task) is not untouched
            or plugins.dialog_opened
            or plugins.dialog_closed
            or len(self._workers.idle) >= KEPT
        ):
            return result, frame
        # As conclude() does, of which a call that went well needs no more than this.
        channel.dialogs.pop(cid, None)
        if frame is not None:
            send_result(served, result, frame)
        return None

    def _rest(self) -> None:
        """Be there for another call."""
        self._served = None
        task, workers = self.task, self._workers
        task.name = _IDLE_NAME
        task.context = workers.context
        workers.idle.append(self)

    def _abort(self, _: Any) -> trio.lowlevel.Abort:
        self._workers.idle.remove(self)
        return trio.lowlevel.Abort.SUCCEEDED


def _innermost_scope(task: trio.lowlevel.Task) -> object:
    """Stands for the innermost cancel scope or nursery that a task is in.

    None where trio does not say: then no task is used again. It does not say it officially; leaving a scope
    tells whether others are open within, and is what a task that is not used again does.
    """
    return getattr(task, "_cancel_status", None)
