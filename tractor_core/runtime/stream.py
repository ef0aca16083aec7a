"""MsgStream: values both ways, under a context."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter
from types import GenericAlias
from typing import TYPE_CHECKING, Any, Generic

import trio
from msgspec import Raw
from trio.lowlevel import checkpoint_if_cancelled

from tractor_core.errors import MsgTypeError, StreamOverrun
from tractor_core.ipc.channel import Channel
from tractor_core.msg import types as m
from tractor_core.protocol.dialog import STREAMING
from tractor_core.trionics.broadcast import BroadcastReceiver, broadcast_receiver

if TYPE_CHECKING:
    from typing import Self

    from typing_extensions import TypeVar

    from .context import Context

    SendT = TypeVar("SendT", default=Any)
    RecvT = TypeVar("RecvT", default=Any)
else:
    # Defaults of type variables came with Python 3.13; only type checkers need them.
    from typing import TypeVar

    SendT = TypeVar("SendT")
    RecvT = TypeVar("RecvT")

#: Who never has to wait gives way to other tasks after so many seconds: a call beside a greedy stream meets
#: one of these at either end. A turn of the scheduler costs some 10 us.
TIME_SLICE = 0.25e-3

#: Values a slow subscriber may be behind before it is ``Lagged``.
BROADCAST_BUFFER = 64


class MsgStream(trio.abc.Channel[Any], Generic[SendT, RecvT]):
    """One side of a two-way stream; made by ``Context.open_stream()``.

    ``MsgStream[Send, Recv]`` names the types of what this side sends and receives, for type checkers.
    ``receive()`` is for one task at a time; :meth:`subscribe` fans out. It is one-shot: once closed it
    stays so. The far side's graceful end is ``trio.EndOfChannel``; a cancel or an error there is that
    error.
    """

    def __init__(self, context: Context, *, send_allowed: bool = True) -> None:
        self._context = context
        self._dialog = context.dialog
        self._channel = context.chan
        self._credit = context.dialog.sending()
        self._inbox = context.dialog.receiving()
        self._send_allowed = send_allowed
        self._closed = False
        self._slice_ends = 0.0
        self._broadcaster: BroadcastReceiver[RecvT] | None = None
        # A frame's size is its payload's plus this; the receiver counts payloads only.
        self._overhead = len(self._channel.encode(m.Yield(self._dialog.cid, Raw(b"0")))) - 1

    if not TYPE_CHECKING:
        # Any number of parameters: those left out are ``Any``.
        __class_getitem__ = classmethod(GenericAlias)

    @property
    def ctx(self) -> Context:
        """The context that this stream belongs to."""
        return self._context

    @property
    def chan(self) -> Channel:
        """The channel to the peer."""
        return self._channel

    @property
    def closed(self) -> bool:
        """Whether this side was closed here."""
        return self._closed

    # -- sending ----------------------------------------------------------------------------------

    async def send(self, value: SendT, hide_tb: bool = True) -> None:
        """Send one value, waiting for credit as the receiver's policy says.

        Raises ``trio.ClosedResourceError`` when closed here, ``StreamOverrun`` when the receiver does not
        keep up and its policy is ``"raise"``, ``TypeError`` naming the path for what cannot be encoded
        (nothing is sent then), and the remote error once the dialog has ended with one.

        When cancelled, nothing was sent. ``hide_tb`` leaves this frame out of debuggers' tracebacks.
        """
        __tracebackhide__ = hide_tb
        await checkpoint_if_cancelled()
        context, channel, dialog = self._context, self._channel, self._dialog
        cid = dialog.cid
        if channel.clogged(cid):
            await channel.room(cid)
        # What `_check_sendable` looks for, without its calls: 0.03 us instead of 0.18, of 2.2 for a value.
        if (
            dialog.state is not STREAMING
            or dialog.stopped
            or self._closed
            or context.failure is not None
            or dialog.peer_error is not None
            or not self._send_allowed
        ):
            # As in `receive_unshared`: who goes on trying gives way.
            await trio.lowlevel.checkpoint()
            self._check_sendable()
        payloads = context.payloads
        payload: Any = value if payloads.plain else payloads.prepare(value)
        frame = channel.encode(m.Yield(cid, payload))
        whole = len(frame)
        large = whole > channel.whole_up_to
        if (large and channel.clogged(cid, whole)) or not self._credit.take(whole - self._overhead):
            await self._wait_turn(whole)
        channel.post_frame(frame, cid)
        if perf_counter() > self._slice_ends:
            # Not cancellable: the value has been sent. No more often, also for large ones: a slice is two or
            # three copies of 1 MiB to shared memory, and telling of them together is a third of the work.
            await trio.lowlevel.cancel_shielded_checkpoint()
            self._slice_ends = perf_counter() + TIME_SLICE

    def _check_sendable(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this stream was closed here")
        if not self._send_allowed:
            raise trio.ClosedResourceError("this stream only receives")
        self._context.raise_if_over()
        if self._dialog.done:
            raise trio.BrokenResourceError("the remote task has returned")
        if not self._dialog.can_send():
            raise trio.ClosedResourceError("this stream has ended its sending half")

    async def _wait_turn(self, whole: int) -> None:
        """Wait until there is room and credit for a frame of ``whole`` bytes, and use the credit."""
        channel, dialog = self._channel, self._dialog
        nothing_taken = False
        while True:
            if channel.clogged(dialog.cid, whole):
                await channel.room(dialog.cid, whole)
                # What was granted meanwhile, another sender may have used.
                nothing_taken = False
            elif self._credit.take(whole - self._overhead):
                self._slice_ends = perf_counter() + TIME_SLICE
                return
            elif nothing_taken:
                raise self._overrun()
            else:
                nothing_taken = await self._wait_credit()
            self._check_sendable()

    async def _wait_credit(self) -> bool:
        """Wait for the receiver to take something; True where its policy is "raise" and the grace is over."""
        context = self._context
        grace = context.actor.limits.overrun_grace
        deadline = float("inf") if self._credit.policy != "raise" else trio.current_time() + grace
        with trio.move_on_at(deadline) as scope:
            await context.wait_credit()
        return scope.cancelled_caught

    def _overrun(self) -> StreamOverrun:
        context = self._context
        error = StreamOverrun(
            f"{self._channel.aid} took nothing for {context.actor.limits.overrun_grace} s with a full window "
            "(overflow='block' on its side would make send() wait)",
            relay_path=(context.actor.uid,),
        )
        context.relay_failure(error)
        return error

    # -- receiving --------------------------------------------------------------------------------

    async def receive(self, hide_tb: bool = True) -> RecvT:
        """Wait for the next value.

        Raises ``trio.EndOfChannel`` after the far side's graceful end, ``trio.ClosedResourceError`` when
        closed here, ``MsgTypeError`` for a value against the contract (the sender is told), or the
        dialog's error. ``hide_tb`` as for :meth:`send`.
        """
        __tracebackhide__ = hide_tb
        if self._broadcaster is not None:
            return await self._broadcaster.receive()
        return await self.receive_unshared()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> RecvT:
        """The next value, until the far side's graceful end."""
        if self._inbox.values and self._broadcaster is None:
            # As `receive` would, without its coroutines.
            await checkpoint_if_cancelled()
            if perf_counter() < self._slice_ends and not self._closed:
                return self._take()
        try:
            return await self.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    async def receive_unshared(self) -> RecvT:
        """Like :meth:`receive`, without regard to who had subscribed when this was called."""
        await checkpoint_if_cancelled()
        waited = False
        broadcaster = self._broadcaster
        while True:
            try:
                value = self.receive_nowait_unshared()
            except trio.WouldBlock:
                await self._context.wait_stream()
                if self._broadcaster is not broadcaster:
                    # Another task has subscribed meanwhile, for the first time.
                    return await self.receive()
                waited = True
                continue
            except Exception:
                # Who handles that and asks again, for ever perhaps, must not keep this actor from all else.
                if not waited:
                    await trio.lowlevel.cancel_shielded_checkpoint()
                raise
            if waited or perf_counter() > self._slice_ends:
                if not waited:
                    # A stream that is always full must not keep this task running for ever.
                    await trio.lowlevel.cancel_shielded_checkpoint()
                self._slice_ends = perf_counter() + TIME_SLICE
            return value

    def receive_nowait(self) -> RecvT:
        """The next value if one has arrived, else ``trio.WouldBlock``; ends like :meth:`receive`."""
        if self._broadcaster is not None:
            return self._broadcaster.receive_nowait()
        return self.receive_nowait_unshared()

    def receive_nowait_unshared(self) -> RecvT:
        """Like :meth:`receive_nowait`, without regard to subscribers."""
        if self._closed:
            raise trio.ClosedResourceError("this stream was closed here")
        if not self._inbox.values:
            self._context.raise_if_over()
            if self._dialog.peer_stopped or self._dialog.done:
                raise trio.EndOfChannel
            raise trio.WouldBlock
        return self._take()

    def _take(self) -> RecvT:
        """The oldest value that has arrived."""
        inbox, context = self._inbox, self._context
        payload = inbox.take()
        if inbox.due:
            context.grant_credit()
        try:
            value: RecvT = context.decode_value(payload)
            return value
        except MsgTypeError as error:
            context.relay_failure(error)
            raise

    @asynccontextmanager
    async def subscribe(self) -> AsyncIterator[BroadcastReceiver[RecvT]]:
        """A receiver of its own for each subscriber, all getting every value from now on.

        The first use is permanent: from then on :meth:`receive` is one subscriber among them, also where a
        task waits in it already. ``send()`` stays as it is.
        """
        if self._broadcaster is None:
            self._broadcaster = broadcast_receiver(_Source(self), BROADCAST_BUFFER)
            self._context.wake_receiver()
        async with self._broadcaster.subscribe() as receiver:
            yield receiver

    # -- closing ----------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """End this side: the far side's iteration ends; values still under way to here are discarded."""
        self.close_nowait()
        await trio.lowlevel.checkpoint()

    def close_nowait(self, *, graceful: bool = True) -> None:
        """What :meth:`aclose` does, without its checkpoint; not ``graceful`` where an error is the reason."""
        if not self._closed:
            self._closed = True
            self._context.stream_closed(graceful)


class _Source:
    """A stream as the source of its own broadcast: past the subscribers."""

    def __init__(self, stream: MsgStream[Any, Any]) -> None:
        self._stream = stream
        self.receive_nowait = stream.receive_nowait_unshared

    async def receive(self) -> Any:
        value = await self._stream.receive_unshared()
        # A full window can be read without waiting, and the others must have their turn between two values.
        await trio.lowlevel.cancel_shielded_checkpoint()
        return value
