"""The nurseries of a running actor, and the order in which it ends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from tractor_core.log import actor_label, get_logger
from tractor_core.runtime.actor import Actor
from tractor_core.runtime.dispatcher import Dispatcher
from tractor_core.runtime.state import Entered
from tractor_core.supervision.merging import raise_merged

from .binding import Listeners

log = get_logger("runtime")

#: How long the goodbyes of an ending actor may take, all channels together (seconds).
GOODBYE_TIMEOUT = 0.3


@asynccontextmanager
async def run_actor(actor: Actor, *, current: bool = True) -> AsyncIterator[Listeners]:
    """Run the actor's runtime around a block; yields where its listeners are to be opened.

    On leaving, in this order: endpoint tasks are cancelled and report it, channels say goodbye, listeners and
    channels close, ``lifetime_stack`` unwinds. A single error is raised bare. ``current=False`` leaves
    ``current_actor()`` in the block as it is.
    """
    entered = Entered(actor) if current else None
    label = actor_label.set(str(actor.aid)) if current else None
    actor.dispatch = Dispatcher(actor)
    actor.plugins.load_hooks()
    if actor.plugins.actor_starting:
        actor.plugins.notify("tractor_actor_starting", actor=actor)
    try:
        async with _networked(actor) as listeners, _serving(actor):
            with actor.main_scope:
                yield listeners
    except BaseExceptionGroup as group:
        raise_merged(group)
    finally:
        try:
            actor.lifetime_stack.close()
        finally:
            if actor.plugins.actor_stopped:
                actor.plugins.notify("tractor_actor_stopped", actor=actor)
            if entered is not None:
                entered.leave()
            try:
                if label is not None:
                    actor_label.reset(label)
            except ValueError:
                pass  # left from another context, which ends with its own copy


@asynccontextmanager
async def _networked(actor: Actor) -> AsyncIterator[Listeners]:
    """The outer nursery: listeners and channel readers live as long as anybody may say something."""
    listeners = Listeners(actor)
    async with _nursery_apart() as network:
        actor.enter_network(network)
        try:
            yield listeners
        finally:
            with trio.CancelScope(shield=True):
                await actor.close_channels(GOODBYE_TIMEOUT)
                await listeners.aclose()


@asynccontextmanager
async def _serving(actor: Actor) -> AsyncIterator[None]:
    """The inner nursery: endpoint tasks, cancelled when the block is left."""
    async with _nursery_apart() as service:
        actor.enter_service(service)
        try:
            yield
        finally:
            # Whoever waits for one of these tasks is told who ended it.
            actor.cancel_soon(actor.canceller)


@asynccontextmanager
async def _nursery_apart() -> AsyncIterator[trio.Nursery]:
    """A nursery whose tasks do not see the block being cancelled from outside; cancelled when it is left.

    They serve the block's unwinding. Were they cancelled with it, a timeout around an actor would cut the
    channels to its children before these are asked to end, and nobody would hear what they say last.
    """
    opened: list[trio.Nursery] = []
    ready = trio.Event()

    async def hold() -> None:
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                opened.append(nursery)
                ready.set()
                await trio.sleep_forever()

    async with trio.open_nursery() as host:
        # Not host.start(): where that is cancelled in the very moment, the nursery is open and unknown.
        host.start_soon(hold)
        with trio.CancelScope(shield=True):
            await ready.wait()
        try:
            yield opened[0]
        finally:
            opened[0].cancel_scope.cancel()
