"""The dispatcher: what a message that belongs to no open dialog means, decided synchronously."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, NoReturn, TypeVar

from tractor_core.errors import ActorTooSlowError, ContextCancelled, ModuleNotExposed, TransportClosed
from tractor_core.ipc.channel import Channel
from tractor_core.log import get_logger
from tractor_core.msg import types as m
from tractor_core.msg.boxing import box, of_runtime
from tractor_core.msg.exposure import Endpoint
from tractor_core.msg.namespace import context_mark
from tractor_core.protocol.dialog import Dialog, Side

from .actor import Actor
from .context import Context
from .payload import codec_in_force, payloads_for
from .serving import Check, ServedCall, serve_context, serve_generator
from .system import PREFIX
from .workers import Workers

log = get_logger("runtime")

T = TypeVar("T")

# Python 3.11 looks members of an enumeration up by running a function.
_CALLEE: Final = Side.CALLEE


class Dispatcher:
    """Starts endpoints for peers, and answers what concerns the whole actor."""

    def __init__(self, actor: Actor) -> None:
        self._actor = actor
        self._workers = Workers(actor)
        self._handlers: dict[type[Any], Callable[[Channel, Any], None]] = {
            m.Start: self._on_start,
            m.Cancel: self._on_cancel,
            m.Ping: self._on_ping,
        }

    def __call__(self, channel: Channel, message: Any) -> None:
        handler = self._handlers.get(type(message))
        if handler is not None:
            handler(channel, message)
        elif isinstance(message, m.Hello | m.Auth | m.SpawnSpec):
            channel.complain("%s sent %s on an open channel; ignored", channel.aid, type(message).__name__)
        # Everything else is late traffic of a dialog that is over: normal after a cancel.

    def _on_ping(self, channel: Channel, message: m.Ping) -> None:
        channel.post(m.Pong(message.serial))

    def _on_cancel(self, channel: Channel, message: m.Cancel) -> None:
        if not message.runtime:
            # The dialog is over; whoever asked has its outcome, or will have.
            channel.post(m.CancelAck(message.cid, True))
            return
        channel.post(m.CancelAck(message.cid, self._actor.on_runtime_cancel(channel, message)))

    def _on_start(self, channel: Channel, message: m.Start) -> None:
        try:
            actor, target = self._actor, message.target
            # What nearly every call passes is asked here, in one function: each more would cost 0.1 us.
            if (
                actor.cancel_called
                or len(channel.dialogs) >= actor.limits.max_dialogs
                or channel.overfull
                or message.cid < 0
                or (message.cid & 1) != channel.dialled
            ):
                self._refuse(channel, message)
            if target.startswith(PREFIX):
                self._start_system(channel, message)
                return
            endpoint = self._look_up(channel, target, actor.exposed.lookup)
            if actor.plugins.has_authorize or not (endpoint.clients or channel.peer.role == "tree"):
                self._authorize(channel, target, endpoint.clients)
            if not endpoint.told:
                self._tell_unchecked(channel, endpoint)
            if endpoint.functype != message.functype:
                raise TypeError(f"{target} is of kind {endpoint.functype}, not {message.functype}")
            if endpoint.functype == "asyncfunc":
                self._start_call(channel, message, endpoint)
            else:
                self._start_context(channel, message, endpoint)
        except TransportClosed:
            pass
        except Exception as error:
            # Refused before any task of it ran: the caller is told, nobody else is disturbed.
            boxed = box(of_runtime(error, message), self._actor.uid, dialog=message)
            channel.post(m.Error(message.cid, boxed))

    def _refuse(self, channel: Channel, message: m.Start) -> NoReturn:
        """Say why nothing at all may be started."""
        actor = self._actor
        if actor.cancel_called:
            canceller = actor.canceller or actor.uid
            raise ContextCancelled(f"{actor.aid} is ending", canceller=canceller)
        if len(channel.dialogs) >= actor.limits.max_dialogs:
            raise ActorTooSlowError(
                f"more than {actor.limits.max_dialogs} dialogs on one channel (Limits.max_dialogs)"
            )
        if channel.overfull:
            raise ActorTooSlowError(
                f"{channel.backlog + channel.withheld} bytes wait already for {channel.aid} to take them "
                "(Limits.max_buffered)"
            )
        raise ValueError(f"context id {message.cid} is not the sender's to choose")

    def _look_up(self, channel: Channel, target: str, lookup: Callable[[str], T]) -> T:
        try:
            return lookup(target)
        except ModuleNotExposed:
            if channel.peer.role == "tree":
                raise
            # What there is, and what there is not, is nothing to a client but what it may call.
            raise _not_open(channel, target) from None

    def _authorize(self, channel: Channel, target: str, clients: bool) -> None:
        plugins = self._actor.plugins
        verdict = plugins.authorize(channel.peer, target) if plugins.has_authorize else None
        allowed = verdict if verdict is not None else (channel.peer.role == "tree" or clients)
        if not allowed:
            raise _not_open(channel, target)

    def _tell_unchecked(self, channel: Channel, endpoint: Endpoint) -> None:
        """Say once what annotations of an endpoint nothing is checked against."""
        endpoint.told = True
        unchecked = endpoint.signature.unchecked(channel.codec)
        if unchecked:
            names = "; ".join(f"{name}: {annotation}" for name, annotation in unchecked.items())
            log.runtime("%s takes anything for what no codec decodes into: %s", endpoint.target, names)

    def _start_call(self, channel: Channel, message: m.Start, endpoint: Endpoint) -> None:
        cid = message.cid
        args, kwargs, check = self._bind(channel, message, endpoint)
        served = ServedCall(channel, Dialog(_CALLEE, cid, "asyncfunc"), endpoint.fn, args, kwargs, check)
        self._workers.run(served, endpoint.target)
        channel.dialogs[cid] = served

    def _bind(
        self, channel: Channel, message: m.Start, endpoint: Endpoint
    ) -> tuple[list[Any], dict[str, Any], Check]:
        """What to call the function with, and what checks its result."""
        applied = codec_in_force(channel)
        signature = endpoint.signature_by(applied or channel.codec)
        check: Check = signature.check_result
        if applied is not None and not applied.plain:
            check = partial(signature.check_result, encoded=True)
        return *signature.bind(message.args, message.kwargs), check

    def _start_context(self, channel: Channel, message: m.Start, endpoint: Endpoint) -> None:
        actor = self._actor
        args, kwargs, check = self._bind(channel, message, endpoint)
        dialog = Dialog(_CALLEE, message.cid, endpoint.functype, channel.account)
        if endpoint.functype == "context":
            mark = context_mark(endpoint.fn)
            assert mark is not None
            payloads = payloads_for(channel, mark)
            context = Context(actor, channel, dialog, payloads=payloads)
            channel.dialogs[dialog.cid] = context
            endpoint.signature.fill(mark.parameter, context, args, kwargs)
            if payloads.typed or not payloads.plain:
                check = payloads.check
            run = partial(serve_context, actor, context, endpoint.fn, args, kwargs, check)
        else:
            context = Context(actor, channel, dialog, payloads=payloads_for(channel), overflow="block")
            channel.dialogs[dialog.cid] = context
            run = partial(serve_generator, actor, context, endpoint.fn, args, kwargs)
        channel.post(m.StartAck(dialog.cid, endpoint.functype), lazy=True)
        actor.service.start_soon(run, name=message.target)

    def _start_system(self, channel: Channel, message: m.Start) -> None:
        actor = self._actor
        endpoint = self._look_up(
            channel, message.target, lambda target: actor.system.lookup(target.removeprefix(PREFIX))
        )
        self._authorize(channel, message.target, endpoint.clients)
        if endpoint.functype != message.functype:
            raise TypeError(f"{message.target} is of kind {endpoint.functype}, not {message.functype}")
        kwargs = channel.codec.decode_payload(message.kwargs)
        dialog = Dialog(_CALLEE, message.cid, endpoint.functype, channel.account)
        if endpoint.functype == "asyncfunc":
            served = ServedCall(channel, dialog, endpoint.function, (channel,), kwargs, None)
            self._workers.run(served, message.target)
            channel.dialogs[dialog.cid] = served
            return
        context = Context(actor, channel, dialog, payloads=payloads_for(channel), overflow="block")
        channel.dialogs[dialog.cid] = context
        run = partial(serve_context, actor, context, endpoint.function, (channel, context), kwargs, None)
        actor.service.start_soon(run, name=message.target)


def _not_open(channel: Channel, target: str) -> ModuleNotExposed:
    return ModuleNotExposed(f"{target[:400]} is not open to {channel.peer.role} {channel.aid.name!r}")
