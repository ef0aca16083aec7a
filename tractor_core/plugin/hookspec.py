"""The hooks a plugin may implement, each with its signature and what is done with the answer.

An implementation is a plain function marked with ``tractor_core.seams.hookimpl``; it may take fewer
arguments than the specification. Implementations run in the trio thread, in the middle of the
runtime's work, so they must return soon: ``async def`` is refused at registration, and so are
wrappers (one plugin must not be able to stop another).

An implementation that raises is logged with its distribution's name; nothing else happens, except
for :func:`tractor_authorize`, where it refuses the call.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pluggy

from ..seams import SpawnBackend, Transport
from ..seams.hooks import PROJECT

hookspec = pluggy.HookspecMarker(PROJECT)


@hookspec
def tractor_transports() -> Iterable[Transport]:
    """Transports made by the plugin at run time; each is known under all of its ``schemes``.

    Called once, when the plugin is registered. A scheme somebody else provides too is a conflict, as
    between two entry points.
    """
    raise NotImplementedError


@hookspec
def tractor_spawners() -> Iterable[SpawnBackend]:
    """Spawn backends made by the plugin at run time, each known under its ``name``.

    Called once, when the plugin is registered.
    """
    raise NotImplementedError


@hookspec
def tractor_actor_starting(actor: Any) -> None:
    """An actor of this process has its identity and is about to open its listeners."""


@hookspec
def tractor_actor_stopped(actor: Any) -> None:
    """An actor of this process has ended all its tasks and closed all its channels."""


@hookspec
def tractor_authorize(peer: Any, target: str) -> bool | None:
    """Whether ``peer`` (what is proved about it) may call ``target`` (``"module:function"``).

    True allows, False refuses, None has no opinion. All are asked; any False, any exception and any
    answer that is none of the three refuses; else any True allows; else the runtime's own
    rule decides.
    """
    raise NotImplementedError


@hookspec
def tractor_dialog_opened(context: Any) -> None:
    """A dialog has begun, on either side. Called for every call: keep it short."""


@hookspec
def tractor_dialog_closed(context: Any, outcome: Any) -> None:
    """A dialog is over; ``outcome`` is the exception that ended it, or None."""


@hookspec
def tractor_channel_opened(channel: Any) -> None:
    """A channel's peer has proved who it is; messages may flow."""


@hookspec
def tractor_channel_closed(channel: Any, reason: Any) -> None:
    """A channel is gone; ``reason`` is what broke it, or None where it was closed in good order."""


@hookspec
def tractor_peer_unresponsive(channel: Any, seconds: float) -> None:
    """A peer has not answered a ping: nothing was heard of it for ``seconds``.

    Called once per episode, for every transport. The channel stays open: the peer computes, is stopped, or
    cannot be reached just now. (Where ``heartbeat_timeout`` closes it, ``tractor_channel_closed`` follows.)
    """


@hookspec
def tractor_peer_recovered(channel: Any, seconds: float) -> None:
    """A peer that was unresponsive said something again, after about ``seconds``."""
