"""The callee's side: running an endpoint in a task of its own and reporting how it ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol

import trio

from tractor_core.errors import ContextCancelled, TransportClosed
from tractor_core.ipc.channel import Channel
from tractor_core.log import get_logger
from tractor_core.msg import types as m
from tractor_core.msg.boxing import box
from tractor_core.protocol.dialog import W_CANCEL, Dialog, ProtocolViolation

from .context import Context
from .state import set_current_context

if TYPE_CHECKING:
    from .actor import Actor

log = get_logger("runtime")

Body = Callable[[], Awaitable[Any]]

#: Checks a result before it is sent; returns what to put in the message.
Check = Callable[[Any], Any]


class Served(Protocol):
    """What both kinds of served dialog have."""

    chan: Channel
    dialog: Dialog
    scope: trio.CancelScope
    reported: BaseException | None


class ServedCall:
    """The callee's side of a call: lighter than a context. A sink of its channel."""

    __slots__ = ("chan", "dialog", "reported", "scope")

    def __init__(self, channel: Channel, dialog: Dialog) -> None:
        self.chan = channel
        self.dialog = dialog
        self.scope = trio.CancelScope()
        #: The error that the peer was told of before the task ended: contexts only.
        self.reported: BaseException | None = None

    def deliver(self, message: Any) -> None:
        dialog = self.dialog
        try:
            wake = dialog.receive(message)
        except ProtocolViolation as error:
            log.warning("protocol violation by %s: %s", self.chan.aid, error)
            self.scope.cancel()
            return
        for answer in dialog.outbox:
            self.chan.post(answer)
        dialog.outbox.clear()
        if wake & W_CANCEL:
            self.scope.cancel()

    def cut(self, error: TransportClosed) -> None:
        self.dialog.cut(error)
        self.scope.cancel()


async def serve_call(
    actor: Actor, served: ServedCall, fn: Any, args: Any, kwargs: Any, check: Check | None
) -> None:
    """Run a plain async function for a peer."""

    async def body() -> Any:
        return await fn(*args, **kwargs)

    await _run(actor, served, body, check)


async def serve_context(
    actor: Actor, context: Context, fn: Any, args: Any, kwargs: Any, check: Check | None
) -> None:
    """Run a ``@context`` function for a peer."""
    set_current_context(context)

    async def body() -> Any:
        return await fn(*args, **kwargs)

    plugins = actor.plugins
    if plugins.dialog_opened:
        plugins.notify("tractor_dialog_opened", context=context)
    try:
        await _run(actor, context, body, check)
    finally:
        if plugins.dialog_closed:
            plugins.notify("tractor_dialog_closed", context=context, outcome=context.dialog.outcome)


async def serve_generator(actor: Actor, context: Context, fn: Any, args: Any, kwargs: Any) -> None:
    """Run an async generator function for a peer, which gets its values as a stream."""
    set_current_context(context)

    async def body() -> None:
        await context.started()
        async with context.open_stream(overflow="block") as stream:
            generator = fn(*args, **kwargs)
            try:
                async for value in generator:
                    await stream.send(value)
            finally:
                # Its own clean-up may need to wait for something, like that of any cancelled task may.
                await generator.aclose()

    await _run(actor, context, body, None)


async def _run(actor: Actor, served: Served, body: Body, check: Check | None) -> None:
    """Run ``body`` under the dialog's scope and send exactly one outcome."""
    dialog, channel = served.dialog, served.chan
    dialog.run()
    result: Any = None
    error: BaseException | None = None
    finished = False
    try:
        with served.scope:
            result = await body()
            finished = True
    except BaseException as raised:
        error = raised
    finally:
        channel.dialogs.pop(dialog.cid, None)
    if finished:
        _send_result(actor, served, result, check)
        return
    own, passing = _split_cancelled(error)
    _send_error(actor, served, own)
    if passing is not None:
        raise passing
    if own is not None and not isinstance(own, Exception | SystemExit):
        # KeyboardInterrupt and the like are not the peer's alone.
        raise own


def _send_result(actor: Actor, served: Served, result: Any, check: Check | None) -> None:
    """Send ``Return``; where the value cannot be sent, the ``Error`` that says so."""
    dialog, channel = served.dialog, served.chan
    if dialog.done:
        return
    try:
        if dialog.functype != "asyncfunc" and dialog.state.value == "running":
            raise RuntimeError("the context function returned without calling started()")
        if check is not None:
            result = check(result)
        frame = channel.encode(m.Return(dialog.cid, result))
    except Exception as error:
        _send_error(actor, served, error)
        return
    dialog.returned(result)
    try:
        channel.post_frame(frame, dialog.cid)
    except TransportClosed:
        pass


def _send_error(actor: Actor, served: Served, error: BaseException | None) -> None:
    """Send how the task failed; no error of its own means that it was cancelled."""
    dialog, channel = served.dialog, served.chan
    if dialog.done:
        if isinstance(error, Exception) and not isinstance(error, TransportClosed):
            if error is not served.reported:
                log.error("a task for %s failed after its dialog had ended", channel.aid, exc_info=error)
        return
    if error is None:
        if dialog.peer_error is not None:
            boxed = dialog.peer_error.error
        else:
            boxed = box(_cancelled(actor, dialog), actor.uid)
    else:
        boxed = box(error, actor.uid)
    try:
        channel.post(dialog.failed(boxed))
    except TransportClosed:
        pass


def _cancelled(actor: Actor, dialog: Dialog) -> ContextCancelled:
    canceller = dialog.canceller or actor.canceller or actor.uid
    return ContextCancelled(f"task in {actor.aid} was cancelled by {canceller[0]}", canceller=canceller)


def _split_cancelled(
    error: BaseException | None,
) -> tuple[BaseException | None, BaseException | None]:
    """Tell the task's own error from a cancellation of this whole actor, which must pass on."""
    if error is None:
        return None, None
    if isinstance(error, trio.Cancelled):
        return None, error
    if isinstance(error, BaseExceptionGroup):
        cancelled, own = error.split(trio.Cancelled)
        return own, cancelled
    return error, None
