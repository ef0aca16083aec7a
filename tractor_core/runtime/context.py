"""Context: one structured-concurrency scope stretched over a channel, seen from either side."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import GenericAlias
from typing import TYPE_CHECKING, Any, Generic

import trio

from tractor_core.errors import MsgTypeError, TransportClosed
from tractor_core.msg import types as m
from tractor_core.msg.boxing import of_runtime
from tractor_core.protocol import dialog as d
from tractor_core.protocol.credit import POLICIES, Window
from tractor_core.protocol.dialog import IllegalHere

from .call import post_cancel, too_slow
from .link import Link, Overflow
from .payload import payloads_for
from .stream import MsgStream, RecvT, SendT

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    StartedT = TypeVar("StartedT", default=Any)
    ResultT = TypeVar("ResultT", default=Any)
else:
    # As in the module of streams: only type checkers need the defaults.
    from typing import TypeVar

    StartedT = TypeVar("StartedT")
    ResultT = TypeVar("ResultT")

#: Default windows (in messages) that one is made of under a policy that lets the sender wait. With a single
#: one of 64, sender and receiver of small values take turns, each waiting for the other to be scheduled,
#: where they could work side by side.
WINDOWS_WHERE_WAITING = 4

#: The first value where none is given.
_NOTHING: Any = None


class Context(Link, Generic[SendT, RecvT, StartedT, ResultT]):
    """One side of a pair of tasks in two actors: the opener's block, and the function that it opened.

    For type checkers ``Context[Send, Recv, Started, Result]`` names what this side sends and receives, what
    is handed to ``started()`` and what the function returns; those left out are ``Any``. The opener of a
    function with a parameter ``Context[Send, Recv, Started]`` gets ``Context[Recv, Send, Started, Result]``.
    """

    if not TYPE_CHECKING:
        # Any number of parameters: those left out are ``Any``.
        __class_getitem__ = classmethod(GenericAlias)

    # -- both sides -------------------------------------------------------------------------------

    async def started(
        self, value: StartedT = _NOTHING, validate_pld_spec: bool = True, strict_pld_parity: bool = False
    ) -> None:
        """Callee: hand the first value to the opener, once.

        ``MsgTypeError`` where it is against the contract (nothing was sent: correct it and call again);
        ``RuntimeError`` on a second call or at the opener; the dialog's error once it has ended with one.
        ``strict_pld_parity`` also demands that the value compares equal after the round trip.
        """
        if self.side == "parent":
            raise RuntimeError("started() is for the task that was opened, not for its opener")
        self._check_unstarted()
        self._adopt_codec()
        try:
            if strict_pld_parity:
                self._check_parity(value)
            payload = self.payloads.check(value) if validate_pld_spec else self.payloads.prepare(value)
        except MsgTypeError as error:
            of_runtime(error, self.dialog)
            raise
        frame = self.chan.encode(m.Started(self.cid, payload))
        if self.chan.clogged(self.cid, len(frame)):
            await self.chan.room(self.cid, len(frame))
            self._check_unstarted()
        self.dialog.start_value(value)
        try:
            self.chan.post_frame(frame, self.cid)
        except TransportClosed:
            pass
        await trio.lowlevel.checkpoint()

    def _check_unstarted(self) -> None:
        if self.dialog.done:
            self.raise_if_over()
        if self.dialog.state is not d.State.RUNNING:
            raise RuntimeError("started() was already called on this context")

    def _adopt_codec(self) -> None:
        """Use the codec in force in the calling task from here on, unless there is a contract."""
        if not self.payloads.by_contract and self.dialog.functype == "context":
            self.payloads = payloads_for(self.chan)
            self.decode_value = self.payloads.decode

    def _check_parity(self, value: Any) -> None:
        back = self.payloads.round_trip(value)
        if back != value:
            raise MsgTypeError(
                f"the value does not survive the round trip: {value!r} arrives as {back!r}",
                bad_msg=repr(value)[:200],
                expected_msg_type=type(value),
                path="$",
            )

    @asynccontextmanager
    async def open_stream(
        self,
        *,
        allow_overruns: bool | None = None,
        msg_buffer_size: int | None = None,
        overflow: Overflow | None = None,
    ) -> AsyncIterator[MsgStream[SendT, RecvT]]:
        """Open this side's half of the stream; once per context.

        ``overflow`` says what happens to a sender that finds this side's window (``msg_buffer_size``
        messages) full: ``"raise"`` (the default), ``"block"``, or ``"buffer"``, which
        ``allow_overruns=True`` spells too. ``RuntimeError`` before ``started()`` or after a cancel.
        """
        policy = self._policy(allow_overruns, overflow)
        window = self._window(msg_buffer_size, policy)
        if self.dialog.cancel_called:
            raise RuntimeError("this context was cancelled; no stream can be opened")
        if not self._has_items():
            self.raise_if_over()
        self._adopt_codec()
        try:
            announcement = self.dialog.open_stream(window, policy)
        except IllegalHere:
            raise RuntimeError(self._why_no_stream()) from None
        if announcement is not None:
            self.post(announcement, lazy=True)
            # A grant for what came before this side opened.
            self._flush_outbox()
        # Only the callee's half of a generator's stream sends.
        send_allowed = self.dialog.functype == "context" or self.side == "child"
        stream: MsgStream[SendT, RecvT] = MsgStream(self, send_allowed=send_allowed)
        self._stream = stream
        self._discarding = False
        try:
            yield stream
        except BaseException:
            stream.close_nowait(graceful=False)
            raise
        stream.close_nowait()

    def _window(self, messages: int | None, policy: Overflow) -> Window:
        limits = self.actor.limits
        if messages is None:
            messages = limits.window_messages * (1 if policy == "raise" else WINDOWS_WHERE_WAITING)
        elif messages < 1:
            raise ValueError(f"msg_buffer_size must be above zero, not {messages}")
        return Window(messages, self.chan.account.share(limits.window_bytes))

    def _policy(self, allow_overruns: bool | None, overflow: Overflow | None) -> Overflow:
        if overflow is None:
            if allow_overruns is None:
                return self._overflow
            return "buffer" if allow_overruns else "raise"
        if overflow not in POLICIES:
            raise ValueError(f"overflow must be one of {', '.join(POLICIES)}, not {overflow!r}")
        return overflow

    def _why_no_stream(self) -> str:
        if self._stream is not None:
            return "the stream of this context was opened before; a stream is one-shot"
        if self.dialog.done:
            return "this context is over"
        return "started() must be called before open_stream()"

    async def cancel(self, timeout: float = 0.5) -> None:
        """Ask for the end of the *remote* task (opener), or of this one (callee).

        At the opener this returns once the request was acknowledged; ``ActorTooSlowError`` when it was
        not within ``timeout`` seconds.
        """
        if self.side == "child":
            self.dialog.cancel(self.actor.uid)
            self.scope.cancel()
            await trio.lowlevel.checkpoint()
            return
        try:
            post_cancel(self.actor, self.chan, self.dialog)
        except TransportClosed:
            return
        with trio.move_on_after(timeout) as scope:
            await self.wait_ack()
        if scope.cancelled_caught and not self.dialog.done and not self.dialog.cancel_acked:
            raise too_slow(self.chan, "the cancel of a context")

    # -- the opener's -----------------------------------------------------------------------------

    async def wait_for_result(self, hide_tb: bool = True) -> ResultT:
        """Opener: wait for the remote task's result, or raise its error.

        The cancellation that this actor asked for is returned, not raised (``ResultT`` does not say so).
        Values of a stream that is not open here are discarded.
        """
        if self.side == "child":
            raise RuntimeError("only the opener of a context can wait for its result")
        if self._stream is None or self._stream.closed:
            self._discarding = True
            self._discard()
        await self.wait()
        error = self.maybe_error
        if error is not None and not self.absorbs(error):
            raise error
        if error is not None:
            self.cancelled_caught = True
        outcome: ResultT = self.outcome
        return outcome

    async def result(self) -> ResultT:
        """Deprecated name of :meth:`wait_for_result`."""
        warnings.warn("Context.result() is now Context.wait_for_result()", DeprecationWarning, stacklevel=2)
        return await self.wait_for_result()

    async def send_yield(self, value: Any) -> None:
        """Deprecated: ``send()`` on the stream that is open here."""
        warnings.warn("Context.send_yield() is now MsgStream.send()", DeprecationWarning, stacklevel=2)
        if self._stream is None:
            raise RuntimeError("this context has no stream: use open_stream()")
        await self._stream.send(value)
