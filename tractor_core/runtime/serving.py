"""The callee's side: running an endpoint in a task of its own and reporting how it ended."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol

import trio

from tractor_core.errors import ContextCancelled, MsgTypeError, TransportClosed
from tractor_core.ipc.channel import Channel
from tractor_core.log import get_logger
from tractor_core.msg import types as m
from tractor_core.msg.boxing import box, of_runtime
from tractor_core.msg.gathered import Gathered
from tractor_core.protocol.dialog import W_CANCEL, Dialog, ProtocolViolation

from .call import error_of
from .context import Context
from .link import is_only
from .state import set_current_context

if TYPE_CHECKING:
    from .actor import Actor

log = get_logger("runtime")

Body = Callable[[], Awaitable[Any]]

#: Checks a result before it is sent; returns what to put in the message.
Check = Callable[[Any], Any]

#: A result and its message; None for that where the dialog is over.
Answer = tuple[Any, bytes | Gathered | None]


class Served(Protocol):
    """What both kinds of served dialog have."""

    chan: Channel
    dialog: Dialog
    scope: trio.CancelScope
    failure: Exception | None


class ServedCall:
    """The callee's side of a call: lighter than a context. A sink of its channel."""

    side = "child"

    __slots__ = ("args", "cancelled", "chan", "check", "dialog", "failure", "fn", "kwargs", "scope")

    #: Set by whoever runs it.
    scope: trio.CancelScope

    def __init__(
        self, channel: Channel, dialog: Dialog, fn: Any, args: Any, kwargs: Any, check: Check | None
    ) -> None:
        self.chan = channel
        self.dialog = dialog
        self.fn = fn
        self.args = args
        self.kwargs = kwargs
        self.check = check
        #: Whether its scope was.
        self.cancelled = False
        #: What the peer did wrong: the outcome, whatever the task makes of its cancellation.
        self.failure: Exception | None = None

    @property
    def cid(self) -> int:
        """The dialog's id on its channel."""
        return self.dialog.cid

    def deliver(self, message: Any) -> None:
        dialog = self.dialog
        try:
            wake = dialog.receive(message)
        except ProtocolViolation as error:
            self.failure = TransportClosed(f"protocol violation by {self.chan.aid}: {error}")
            self.chan.complain("%s", self.failure)
            self._cancel()
            return
        for answer in dialog.outbox:
            self.chan.post(answer)
        dialog.outbox.clear()
        if wake & W_CANCEL:
            self._cancel()

    def cut(self, error: TransportClosed) -> None:
        self.dialog.cut(error)
        self._cancel()

    def _cancel(self) -> None:
        self.cancelled = True
        self.scope.cancel()


async def serve_context(
    actor: Actor, context: Context, fn: Any, args: Any, kwargs: Any, check: Check | None
) -> None:
    """Run a ``@context`` function for a peer."""
    set_current_context(context)

    async def body() -> Any:
        return await fn(*args, **kwargs)

    await _run_noticed(actor, context, body, check)


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

    await _run_noticed(actor, context, body, None)


async def _run_noticed(actor: Actor, served: Context, body: Body, check: Check | None) -> None:
    """Run ``body``, telling the hooks."""
    plugins = actor.plugins
    if plugins.dialog_opened:
        plugins.notify("tractor_dialog_opened", context=served)
    try:
        await _run(actor, served, body, check)
    finally:
        if plugins.dialog_closed:
            plugins.notify("tractor_dialog_closed", context=served, outcome=error_of(served.dialog))


async def _run(actor: Actor, served: Served, body: Body, check: Check | None) -> None:
    """Run ``body`` under the dialog's scope and send exactly one outcome."""
    served.dialog.run()
    answer: Answer | None = None
    error: BaseException | None = None
    try:
        with served.scope:
            result = await body()
            frame = await encoded_result(served, result, check)
            answer = (result, frame)
    except BaseException as raised:
        answer, error = None, raised
    conclude(actor, served, answer, error)


def conclude(actor: Actor, served: Served, answer: Answer | None, error: BaseException | None) -> None:
    """Say how the task has ended: with an answer, with an error, or cancelled where there is neither.

    Raises what is not its caller's affair alone.
    """
    dialog, channel = served.dialog, served.chan
    channel.dialogs.pop(dialog.cid, None)
    dialog.release()
    if answer is not None and served.failure is None:
        send_result(served, *answer)
        return
    own, passing = _split_cancelled(error)
    if own is None or is_only(own, served.failure):
        own = served.failure
    _send_error(actor, served, own)
    if passing is not None:
        raise passing
    if own is not None and actor.is_root and _holds_interrupt(own):
        # The user's Ctrl-C may hit any task of the root. Spawned actors ignore SIGINT: there it
        # was raised by hand, and is its caller's affair like any other error.
        raise own


async def encoded_result(served: Served, result: Any, check: Check | None) -> bytes | Gathered | None:
    """``Return`` as a frame, once there is room for it; None where the dialog is over.

    The dialog stays open meanwhile, and counts: a peer that takes no results gets no new ones.
    """
    dialog, channel = served.dialog, served.chan
    if dialog.functype != "asyncfunc" and dialog.state.value == "running":
        raise RuntimeError("the context function returned without calling started()")
    if channel.clogged(dialog.cid):
        await channel.room(dialog.cid)
    while not dialog.done:
        try:
            frame = channel.encode(m.Return(dialog.cid, result if check is None else check(result)))
        except MsgTypeError as error:
            of_runtime(error, dialog)
            raise
        size = len(frame)
        if not channel.clogged(dialog.cid, size):
            return frame
        # Encoded again when its turn has come: what waits until then is the value, and not twice.
        del frame
        with channel.withholding(size):
            await channel.room(dialog.cid, size)
    return None


def send_result(served: Served, result: Any, frame: bytes | Gathered | None) -> None:
    """Send the encoded ``Return``."""
    dialog, channel = served.dialog, served.chan
    if dialog.done or frame is None:
        return
    dialog.returned(result)
    try:
        channel.post_frame(frame, dialog.cid)
    except TransportClosed:
        pass


def _tells_of_the_end(error: Exception) -> bool:
    """Whether it only says, once or for each of several tasks, that the channel has ended."""
    if isinstance(error, ExceptionGroup):
        return error.split(TransportClosed)[1] is None
    return isinstance(error, TransportClosed)


def _send_error(actor: Actor, served: Served, error: BaseException | None) -> None:
    """Send how the task failed; no error of its own means that it was cancelled."""
    dialog, channel = served.dialog, served.chan
    if dialog.done:
        if isinstance(error, Exception) and not _tells_of_the_end(error):
            _log_failure(actor, channel, error, "a task for %s failed after its channel had ended")
        return
    if error is None:
        if dialog.peer_error is not None:
            boxed = dialog.peer_error.error
        else:
            boxed = box(_cancelled(actor, dialog), actor.uid, dialog=dialog)
    else:
        boxed = box(error, actor.uid, dialog=dialog)
        told = error is served.failure or isinstance(error, ContextCancelled)
        if channel.withhold_tracebacks and not told:
            _log_failure(actor, channel, error, "a task for client %s failed")
    try:
        channel.post(dialog.failed(boxed))
    except TransportClosed:
        pass


def _log_failure(actor: Actor, channel: Channel, error: BaseException, message: str) -> None:
    """Log an error whose traceback nobody else will see. Clients cannot fill the log with them."""
    if channel.peer.role == "client":
        source = f"{type(error).__qualname__} for client {channel.aid.name}"
        actor.complaints.error(source, error, message, channel.aid)
    else:
        log.error(message, channel.aid, exc_info=error)


def _cancelled(actor: Actor, dialog: Dialog) -> ContextCancelled:
    canceller = dialog.canceller or actor.canceller or actor.uid
    error = ContextCancelled(f"task in {actor.aid} was cancelled by {canceller[0]}", canceller=canceller)
    return of_runtime(error, dialog)


def _split_cancelled(
    error: BaseException | None,
) -> tuple[BaseException | None, BaseException | None]:
    """Tell the task's own error from a cancellation of this whole actor, which must pass on."""
    if error is None:
        return None, None
    if trio.current_effective_deadline() != -math.inf:
        # Nothing around the task is cancelled, so a Cancelled in there was carried out of its scope.
        return error, None
    if isinstance(error, trio.Cancelled):
        return None, error
    if isinstance(error, BaseExceptionGroup):
        cancelled, own = error.split(trio.Cancelled)
        return own, cancelled
    return error, None


def _holds_interrupt(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(KeyboardInterrupt) is not None
    return isinstance(error, KeyboardInterrupt)
