"""``inproc``: actors as tasks of this very trio run, for tests in virtual time and for rehearsals.

Everything but the process is real: bootstrap, handshake, channels, teardown. To terminate or kill such an
actor is to cut its connections, so that it says nothing more to anybody, and to cancel its tasks. Unlike a
process it still runs its clean-up then, and what is shielded from cancellation runs on: its end is waited
for.
"""

from __future__ import annotations

import contextvars
import signal
from functools import partial

import msgspec
import trio

from tractor_core.log import get_logger
from tractor_core.msg.types import Bootstrap
from tractor_core.runtime.actor import Actor
from tractor_core.seams import ExitStatus, SpawnRequest

from .child import run_child

log = get_logger("runtime")


class InprocActor:
    """An actor that is a task. ``pid`` is None: there is no process."""

    pid: int | None = None

    def __init__(self) -> None:
        self._scope = trio.CancelScope()
        self._actor: Actor | None = None
        self._status: ExitStatus | None = None
        self._ended = trio.Event()
        self._signal: int | None = None

    async def run(self, bootstrap: Bootstrap) -> None:
        """The actor's life, in a system task."""
        code = 1
        try:
            with self._scope:
                code = await run_child(bootstrap, {}, own_process=False, on_actor=self._found)
        except Exception:
            log.exception("in-process actor %s failed", bootstrap.name)
        finally:
            if self._scope.cancelled_caught and self._signal is not None:
                self._status = ExitStatus(signal=self._signal)
            else:
                self._status = ExitStatus(code=code)
            self._ended.set()

    async def wait(self) -> ExitStatus:
        await self._ended.wait()
        assert self._status is not None
        return self._status

    def poll(self) -> ExitStatus | None:
        return self._status

    def terminate(self) -> None:
        self._end_by(signal.SIGTERM)

    def kill(self) -> None:
        self._end_by(signal.SIGKILL)

    def _found(self, actor: Actor) -> None:
        self._actor = actor

    def _end_by(self, signum: int) -> None:
        if self._status is not None or self._signal is not None:
            return
        self._signal = int(signum)
        # First, or what waits for a channel would see that one break, and complain.
        self._scope.cancel()
        if self._actor is not None:
            for channels in self._actor.peers.values():
                for channel in channels:
                    channel.abort()


class InprocBackend:
    """The spawn backend; its actors run as system tasks, so that nobody's cancellation is theirs."""

    name = "inproc"
    #: No process: no lifeline, no descriptors to inherit.
    own_process = False

    async def spawn(self, request: SpawnRequest) -> InprocActor:
        if request.options:
            raise ValueError(f"the inproc backend has no options: {', '.join(request.options)}")
        process = InprocActor()
        bootstrap = msgspec.msgpack.decode(request.bootstrap, type=Bootstrap)
        # A context of its own: an actor must not find its parent's variables.
        trio.lowlevel.spawn_system_task(
            partial(process.run, bootstrap), name=request.title, context=contextvars.Context()
        )
        return process
