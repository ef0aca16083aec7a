"""Opening a context: the opener's half of a pair of tasks, from ``Start`` to outcome."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

from tractor_core.errors import TransportClosed
from tractor_core.ipc.channel import Channel
from tractor_core.log import get_logger
from tractor_core.msg.namespace import ContextMark
from tractor_core.msg.signature import Signature
from tractor_core.protocol.dialog import Dialog, Side

from .call import cancel_and_settle, log_unseen, post_start, start_message
from .context import Context
from .link import Overflow, is_only
from .payload import payloads_for

if TYPE_CHECKING:
    from .actor import Actor
    from .portal import Portal

log = get_logger("runtime")


def make_context(
    actor: Actor,
    channel: Channel,
    functype: str,
    *,
    mark: ContextMark | None = None,
    signature: Signature | None = None,
    overflow: Overflow = "raise",
    portal: Portal | None = None,
) -> Context:
    """The opener's context, not yet started."""
    dialog = Dialog(Side.OPENER, channel.new_cid(), functype, channel.account)
    payloads = payloads_for(channel, mark)
    decode_result = None
    if signature is not None and not payloads.typed:
        decode_result = signature.by(payloads.codec).decode_result
    # For a generator the signature's type is that of its items; its own end carries nothing.
    items = functype == "asyncgen"
    context = Context(
        actor,
        channel,
        dialog,
        payloads=payloads,
        decode_result=None if items else decode_result,
        overflow=overflow,
        portal=portal,
    )
    if items and decode_result is not None:
        context.decode_value = decode_result
    return context


@asynccontextmanager
async def opened(
    context: Context, target: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> AsyncIterator[tuple[Context, Any]]:
    """Start the remote task, run the block beside it, and leave no earlier than it has ended."""
    actor, channel, dialog = context.actor, context.chan, context.dialog
    if channel.aid == actor.aid:
        raise RuntimeError(
            f"a context cannot be opened to this same actor ({actor.aid}): it would wait for itself"
        )
    await trio.lowlevel.checkpoint_if_cancelled()
    await post_start(channel, start_message(channel, dialog.cid, target, dialog.functype, args, kwargs))
    channel.dialogs[dialog.cid] = context
    plugins = actor.plugins
    if plugins.dialog_opened:
        plugins.notify("tractor_dialog_opened", context=context)
    try:
        try:
            with context.scope:
                first = await context.wait_started()
                yield context, first
                if not dialog.cancel_called:
                    # The block is over: a remote task that still listens must not wait for more.
                    context.stop_sending()
                elif not dialog.cancel_acked:
                    # Asked for, but not heard: ask once more instead of waiting for nothing.
                    await context.cancel(actor.limits.cancel_timeout)
                await context.wait_for_result()
        except BaseException as error:
            await _settle(context)
            error = _unwrapped(context, error)
            if not (dialog.done and context.absorbs(error)):
                _chain_remote(context, error)
                raise error
            context.cancelled_caught = True
        else:
            await _settle(context)
            context.maybe_raise()
            context.cancelled_caught = context.maybe_error is not None
    finally:
        channel.dialogs.pop(dialog.cid, None)
        context.cut(TransportClosed("this context was left"))
        dialog.release()
        if plugins.dialog_closed:
            plugins.notify("tractor_dialog_closed", context=context, outcome=context.maybe_error)


async def _settle(context: Context) -> None:
    """However the block ended, end the remote task and wait for it."""
    if context.dialog.done:
        return
    with trio.CancelScope(shield=True):
        await cancel_and_settle(context.actor, context.chan, context)


def _unwrapped(context: Context, error: BaseException) -> BaseException:
    """The dialog's own error bare, where the block's nurseries wrapped it and nothing else."""
    for own in (context.failure, context.maybe_error):
        if own is not None and is_only(error, own):
            return own
    return error


def _chain_remote(context: Context, error: BaseException) -> None:
    """The block's own error wins; one that came from the remote task beside it is not lost."""
    remote = context.maybe_error
    if remote is None or remote is error or context.absorbs(remote) or context.dialog.outcome is None:
        return
    if error is context.failure:
        return  # the remote task was ended by this very error
    if isinstance(error, trio.Cancelled):
        log_unseen(context.dialog, context.actor.uid)
    elif error.__context__ is None and error.__cause__ is None:
        error.__context__ = remote
