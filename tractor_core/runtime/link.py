"""What both ends of a context share: the facts, what the channel delivers, who waits for what."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import trio

from tractor_core.errors import ContextCancelled, StreamOverrun, TransportClosed
from tractor_core.ipc.channel import Channel
from tractor_core.msg import types as m
from tractor_core.msg.boxing import box, of_runtime, unbox
from tractor_core.protocol import dialog as d
from tractor_core.protocol.credit import OverBudget
from tractor_core.protocol.dialog import Dialog, IllegalHere, ProtocolViolation, Side

from .call import post_cancel
from .parking import Slot
from .payload import Payloads
from .stream import MsgStream

if TYPE_CHECKING:
    from .actor import Actor
    from .portal import Portal

Overflow = Literal["raise", "block", "buffer"]

#: An error that left a stream's block this many seconds ago and has not ended the context was handled.
HANDLED_AFTER = 0.25


class Link:
    """One side of a pair of tasks in two actors: what it knows, takes in and says. A sink of its channel.

    ``Context`` adds what users call.
    """

    def __init__(
        self,
        actor: Actor,
        channel: Channel,
        dialog: Dialog,
        *,
        payloads: Payloads,
        decode_result: Callable[[Any], Any] | None = None,
        overflow: Overflow = "raise",
        portal: Portal | None = None,
    ) -> None:
        self.actor = actor
        self.chan = channel
        self.dialog = dialog
        self.payloads = payloads
        #: Decodes stream values; those of a generator have its annotated item type.
        self.decode_value: Callable[[Any], Any] = payloads.decode
        self._decode_result = decode_result or payloads.decode
        self.portal = portal
        #: What is cancelled when the other side ends this one: the opener's block, the callee's task.
        self.scope = trio.CancelScope()
        self.cancelled_caught = False
        #: What broke the stream on this side. At the callee it is the outcome, whatever the task makes of it.
        self.failure: Exception | None = None
        self._overflow: Overflow = overflow
        self._stream: MsgStream[Any, Any] | None = None
        self._discarding = False
        self._error: BaseException | None = None
        self._receiver = Slot()
        self._changed = trio.lowlevel.ParkingLot()
        self._credit = trio.lowlevel.ParkingLot()

    # -- facts ------------------------------------------------------------------------------------

    @property
    def cid(self) -> int:
        """The context's id on its channel."""
        return self.dialog.cid

    @property
    def side(self) -> Literal["parent", "child"]:
        """``"parent"`` where it was opened, ``"child"`` where it runs."""
        return "parent" if self.dialog.side is Side.OPENER else "child"

    @property
    def peer_side(self) -> Literal["parent", "child"]:
        return "child" if self.side == "parent" else "parent"

    @property
    def cancel_called(self) -> bool:
        """Whether this side asked for the end."""
        return self.dialog.cancel_called

    @property
    def cancel_acked(self) -> bool:
        return self.dialog.cancel_acked

    @property
    def canceller(self) -> tuple[str, str] | None:
        """The uid of the actor that asked for the end, as far as this side knows."""
        error = self.maybe_error
        if isinstance(error, ContextCancelled):
            return error.canceller
        return self.dialog.canceller

    @property
    def has_outcome(self) -> bool:
        return self.dialog.done

    @property
    def maybe_error(self) -> BaseException | None:
        """The error that the dialog ended with, one object for all who look."""
        if self._error is None:
            outcome = self.dialog.outcome
            if isinstance(outcome, m.Error):
                self._error = unbox(outcome.error)
            else:
                self._error = self.dialog.cut_error
        return self._error

    @property
    def outcome(self) -> Any:
        """The final result, or the error; ``RuntimeError`` while there is neither."""
        if not self.dialog.done:
            raise RuntimeError("this context has no outcome yet")
        error = self.maybe_error
        return error if error is not None else self._result()

    def maybe_raise(self, hide_tb: bool = True) -> None:
        """Raise the error that the dialog ended with, if it did and it is not absorbed."""
        error = self.maybe_error
        if error is not None and not self.absorbs(error):
            raise error

    def absorbs(self, error: BaseException) -> bool:
        """Whether this is the cancellation that this actor itself asked for."""
        return isinstance(error, ContextCancelled) and error.canceller == self.actor.uid

    def __repr__(self) -> str:
        return f"<Context {self.cid} {self.side} of {self.chan.aid} {self.dialog.state.value}>"

    # -- what the channel delivers ----------------------------------------------------------------

    def deliver(self, message: Any) -> None:
        """Take a message that the channel read for this dialog. For the runtime."""
        dialog = self.dialog
        try:
            wake = dialog.receive(message)
        except ProtocolViolation as error:
            self._violated(error)
            return
        except OverBudget as error:
            self._overrun(error)
            return
        if dialog.outbox:
            self._flush_outbox()
        if wake:
            self._wake(wake)

    def _flush_outbox(self) -> None:
        messages, self.dialog.outbox = self.dialog.outbox, []
        for message in messages:
            self.post(message, lazy=isinstance(message, m.Credit))

    def _wake(self, wake: int) -> None:
        if wake & d.W_CANCEL and self.dialog.peer_error is None and not self.dialog.done:
            # A plain cancel, before the others: who waits in receive() is cancelled there, and does not
            # wake to find what else came in the same batch, such as the end of the stream.
            self.scope.cancel()
        if wake & d.W_STREAM:
            if self._discarding:
                self._discard()
            self._receiver.unpark()
        if wake & d.W_CREDIT:
            self._credit.unpark_all()
        if wake & (d.W_DONE | d.W_STARTED | d.W_CANCEL_ACK):
            self._changed.unpark_all()
        if wake & d.W_CANCEL:
            self.scope.cancel()
        elif wake & d.W_DONE and self.side == "parent":
            error = self.maybe_error
            if error is not None and not self.absorbs(error) and not self._has_items():
                self.scope.cancel()

    def _has_items(self) -> bool:
        """Whether a generator's items are still to be read: its error comes after them, as of a local one."""
        dialog = self.dialog
        if dialog.functype != "asyncgen" or dialog.outcome is None:
            return False  # a path that broke is no word of the generator's
        return dialog.inbox is not None and bool(dialog.inbox.values)

    def _violated(self, error: ProtocolViolation) -> None:
        closed = TransportClosed(f"protocol violation by {self.chan.aid}: {error}")
        self.chan.complain("%s", closed)
        try:
            if self.side == "parent":
                post_cancel(self.actor, self.chan, self.dialog, str(error))
            else:
                self.chan.post(m.Error(self.cid, box(closed, self.actor.uid)))
        except (TransportClosed, IllegalHere):
            pass
        self.cut(closed)

    def _overrun(self, error: OverBudget) -> None:
        """The peer's values found the channel full of values that nobody takes: this stream ends."""
        if self.failure is None:
            overrun = StreamOverrun(
                f"{self.actor.aid} takes no more from {self.chan.aid}: {error} (Limits.max_buffered)",
                relay_path=(self.actor.uid,),
            )
            self.relay_failure(overrun)
            if self.side == "parent":
                # Nobody here raised it: it is the outcome, whatever the callee makes of it.
                self._error = overrun
        self.dialog.release()
        self._receiver.unpark()
        self._credit.unpark_all()
        self.scope.cancel()

    def cut(self, error: TransportClosed) -> None:
        """End with ``error``: the channel is gone. For the runtime."""
        self._wake(self.dialog.cut(error))

    # -- waiting ----------------------------------------------------------------------------------

    async def wait_stream(self) -> None:
        """Park the one receiver."""
        await self._receiver.park()

    def wake_receiver(self) -> None:
        """Let the one receiver look again. For the stream."""
        self._receiver.unpark()

    async def wait_credit(self) -> None:
        """Wait until the peer may have granted some, or the dialog has changed. For the runtime."""
        await self._credit.park()

    async def wait(self) -> None:
        """Wait until the dialog is over."""
        while not self.dialog.done:
            await self._changed.park()

    async def wait_ack(self) -> None:
        """Wait until the peer has taken the cancel request, or the dialog is over. For the runtime."""
        while not self.dialog.cancel_acked and not self.dialog.done:
            await self._changed.park()

    async def wait_started(self) -> Any:
        """Opener: the value of ``started()``, or the error that came instead."""
        dialog = self.dialog
        while dialog.started is None and not dialog.done:
            await self._changed.park()
        if dialog.started is None:
            error = self.maybe_error
            assert error is not None
            raise error
        return self.payloads.decode(dialog.started.pld)

    # -- sending ----------------------------------------------------------------------------------

    def post(self, message: m.Message, *, lazy: bool = False) -> None:
        """Send unless the channel has ended; whoever waits for an answer is told by that end."""
        try:
            self.chan.post(message, lazy=lazy)
        except TransportClosed:
            pass

    def grant_credit(self) -> None:
        """Let the peer send more, once enough was taken. For the runtime."""
        credit = self.dialog.credit_due()
        if credit is not None:
            self.post(credit, lazy=True)

    def relay_failure(self, error: Exception) -> None:
        """This side's stream broke: see to it that the other side ends with that error.

        The opener tells the callee, whose task is cancelled. At the callee it is the outcome once the
        task has ended, as outcomes are, so that the opener goes on no earlier.
        """
        self.failure = self.failure or error
        of_runtime(error, self.dialog)
        if self.side == "child":
            return
        try:
            self.post(self.dialog.failed(box(error, self.actor.uid, dialog=self.dialog)))
        except IllegalHere:
            pass  # over already

    def raise_if_over(self) -> None:
        """Raise why the stream cannot go on, where the dialog was ended by an error."""
        dialog = self.dialog
        if self.failure is not None:
            raise self.failure
        if dialog.peer_error is not None:
            raise unbox(dialog.peer_error.error)
        if dialog.done:
            error = self.maybe_error
            if error is not None:
                raise error

    # -- the end of the stream --------------------------------------------------------------------

    def stream_closed(self, graceful: bool) -> None:
        """The stream was closed here: tell the peer, and discard what still comes.

        Where an error or a cancellation left the stream's block, the peer is to learn that, which the
        dialog's outcome (or the opener's cancel) says in a moment; not that the stream ended well.
        """
        if graceful:
            self.stop_sending()
        elif not self.dialog.done and not self.actor.cancel_called:
            self.actor.service.start_soon(self._stop_later)
        self._discarding = True
        self._discard()
        self._receiver.unpark()
        self._credit.unpark_all()

    def stop_sending(self) -> None:
        """Tell the peer that no more values will come, unless it knows."""
        stop = self.dialog.stop()
        if stop is not None:
            self.post(stop)

    async def _stop_later(self) -> None:
        """The error may have been handled outside of the stream's block; then this is an end like others."""
        with trio.move_on_after(HANDLED_AFTER):
            await self.wait()
        if self.dialog.canceller is None:
            self.stop_sending()

    def _discard(self) -> None:
        while True:
            try:
                self.dialog.take_value()
            except IndexError:
                return
            # The sender is not to blame for this side's leaving: it must not run out of credit.
            self.grant_credit()

    def _result(self) -> Any:
        outcome = self.dialog.outcome
        assert isinstance(outcome, m.Return)
        return self._decode_result(outcome.pld)


def is_only(error: BaseException, wanted: BaseException | None) -> bool:
    """Whether ``error`` is a group, nested perhaps, of nothing but ``wanted``."""
    if wanted is None or not isinstance(error, BaseExceptionGroup):
        return False
    return all(member is wanted or is_only(member, wanted) for member in error.exceptions)
