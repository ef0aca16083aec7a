"""A call to a peer: one request, one outcome."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import trio

from tractor_core.errors import ActorTooSlowError, ContextCancelled, RemoteActorError, TransportClosed
from tractor_core.ipc.channel import Channel
from tractor_core.log import get_logger
from tractor_core.msg import types as m
from tractor_core.msg.boxing import unbox
from tractor_core.protocol.dialog import DONE, Dialog, ProtocolViolation, Side

from .parking import Slot
from .payload import codec_in_force

if TYPE_CHECKING:
    from .actor import Actor

log = get_logger("runtime")

# Python 3.11 looks members of an enumeration up by running a function.
OPENER: Final = Side.OPENER

#: How long an actor that is being ended waits for the tasks that it cancelled in a peer which is none of its
#: children (seconds): as long as a child may take to unwind.
FOREIGN_GRACE = 3.0


class Call(Slot):
    """The opener's side of a call. A sink of its channel, and where its one caller waits."""

    __slots__ = ("chan", "dialog")

    side = "parent"

    def __init__(self, channel: Channel, functype: str) -> None:
        self._task = None
        self.chan = channel
        self.dialog = Dialog(OPENER, channel.new_cid(), functype)

    @property
    def cid(self) -> int:
        """The dialog's id on its channel."""
        return self.dialog.cid

    def deliver(self, message: Any) -> None:
        try:
            wake = self.dialog.receive(message)
        except ProtocolViolation as error:
            wake = self._violated(error)
        if wake:
            self.unpark()

    def _violated(self, error: ProtocolViolation) -> int:
        """Nobody waits for that task any more: it shall end, and the peer is itself the cause."""
        try:
            self.chan.post(m.Cancel(self.cid, self.chan.aid.uid, f"protocol violation: {error}"))
        except TransportClosed:
            pass
        return self.dialog.cut(TransportClosed(f"protocol violation by {self.chan.aid}: {error}"))

    def cut(self, error: TransportClosed) -> None:
        if self.dialog.cut(error):
            self.unpark()

    async def wait(self) -> None:
        """Wait until the dialog has an outcome or was cut."""
        while not self.dialog.done:
            await self.park()

    async def wait_ack(self) -> None:
        """Wait until a cancel request was acknowledged, or it is over anyway."""
        while not self.dialog.cancel_acked and not self.dialog.done:
            await self.park()


async def call(
    actor: Actor, channel: Channel, target: str, functype: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> m.Return:
    """Run ``target`` at the peer and wait for its ``Return``; what it raised is raised, boxed.

    When the caller is cancelled the remote task is cancelled first, and waited for.
    """
    await trio.lowlevel.checkpoint_if_cancelled()
    pending = Call(channel, functype)
    dialog = pending.dialog
    cid = dialog.cid
    await post_start(channel, start_message(channel, cid, target, functype, args, kwargs))
    channel.dialogs[cid] = pending
    plugins = actor.plugins
    if plugins.dialog_opened:
        plugins.notify("tractor_dialog_opened", context=pending)
    try:
        # As wait() does, without another coroutine to pass through.
        while dialog.state is not DONE:
            await pending.park()
    except trio.Cancelled:
        with trio.CancelScope(shield=True):
            await cancel_and_settle(actor, channel, pending)
        log_unseen(dialog, actor.uid)
        raise
    finally:
        channel.dialogs.pop(cid, None)
        if plugins.dialog_closed:
            plugins.notify("tractor_dialog_closed", context=pending, outcome=error_of(dialog))
    outcome = dialog.outcome
    return outcome if type(outcome) is m.Return else result_of(dialog)


def start_message(
    channel: Channel, cid: int, target: str, functype: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> m.Start:
    """The request to run ``target``; its payloads are encoded in one pass with it: see ``Message``."""
    if (codec := codec_in_force(channel)) is not None:
        return m.Start(
            cid,
            target,
            functype,
            codec.encode_payload(args, "args"),
            codec.encode_payload(kwargs, "kwargs"),
        )
    return m.Start(cid, target, functype, args, kwargs)  # type: ignore[arg-type]


async def post_start(channel: Channel, request: m.Start) -> None:
    """Send a request, waiting first while too much waits already; when cancelled, nothing was sent."""
    frame = channel.encode(request)
    if channel.clogged(request.cid, len(frame)):
        await channel.room(request.cid, len(frame))
    channel.post_encoded(frame, request)


def result_of(dialog: Dialog) -> m.Return:
    """The ``Return`` of a finished dialog, or its error raised."""
    outcome = dialog.outcome
    if type(outcome) is m.Return:
        return outcome
    error = error_of(dialog)
    assert error is not None
    raise error


def error_of(dialog: Dialog) -> BaseException | None:
    """The error that a dialog ended with, made anew each time."""
    if isinstance(dialog.outcome, m.Error):
        return unbox(dialog.outcome.error)
    return dialog.cut_error if dialog.outcome is None else None


async def cancel_and_settle(actor: Actor, channel: Channel, pending: Any) -> bool:
    """Ask for the remote task's end and wait for its outcome. Call this shielded.

    The acknowledgement is waited for ``Limits.cancel_timeout``; after it the outcome, as long as the
    channel lives and this actor is not being ended (the end of an own child is bounded by its ladder, which
    knows better). False where it was not acknowledged; then nobody waits.
    """
    dialog: Dialog = pending.dialog
    try:
        post_cancel(actor, channel, dialog)
    except TransportClosed:
        return True
    with trio.move_on_after(actor.limits.cancel_timeout):
        await pending.wait_ack()
    if not dialog.cancel_acked and not dialog.done:
        log.cancel("%s did not acknowledge the cancel of a task in time; going on without it", channel.aid)
        # Whoever wants more of this peer need not wait as long again to learn the same.
        channel.unanswered = channel.heard
        return False
    owned = channel.aid.uuid in actor.on_end_asked
    with actor.until_ended(math.inf if owned else FOREIGN_GRACE):
        await pending.wait()
    if not dialog.done:
        log.cancel("%s took a cancel and has not ended its task; ending without it", channel.aid)
    return True


def post_cancel(actor: Actor, channel: Channel, dialog: Dialog, reason: str = "") -> None:
    """Send the cancel request for a dialog, unless it is over."""
    request = dialog.cancel(actor.uid, reason, actor.time_left())
    if request is not None:
        channel.post(request)


def log_unseen(dialog: Dialog, uid: tuple[str, str]) -> None:
    """Log the error of a dialog that nobody waits for any more; being cancelled as asked is none."""
    if not isinstance(dialog.outcome, m.Error):
        return
    error = unbox(dialog.outcome.error)
    if isinstance(error, ContextCancelled) and error.canceller == uid:
        return
    text = error.pformat() if isinstance(error, RemoteActorError) else str(error)
    log.error("an error came after its caller was cancelled: %s\n%s", type(error).__name__, text)


def too_slow(channel: Channel, what: str) -> ActorTooSlowError:
    """The error for a request that was not acknowledged."""
    return ActorTooSlowError(f"{channel.aid} did not acknowledge {what} in time")
