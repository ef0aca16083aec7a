"""Finding the current actor: a ContextVar first, else the process's one live actor."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Literal, overload

import trio

from tractor_core.errors import NoRuntime

if TYPE_CHECKING:
    from .actor import Actor
    from .context import Context

_actor: ContextVar[Actor | None] = ContextVar("tractor_core.actor", default=None)
_context: ContextVar[Context | None] = ContextVar("tractor_core.context", default=None)

# The one exception to "nothing in module globals": a ContextVar is empty in plain threads, system
# tasks, run_sync_soon callbacks and tasks started before the root, so the actors alive in this
# process are listed here; with exactly one, it is the answer.
_live: list[Actor] = []


class Entered:
    """Makes an actor current from construction until :meth:`leave`."""

    def __init__(self, actor: Actor) -> None:
        self._actor = actor
        self._token = _actor.set(actor)
        _live.append(actor)

    def leave(self) -> None:
        """Undo; from another context (a fixture's teardown) the variable there is left alone."""
        if self._actor in _live:
            _live.remove(self._actor)
        try:
            _actor.reset(self._token)
        except ValueError:
            # Entered in another context, which ends with its own copy of the variable.
            if _actor.get() is self._actor:
                _actor.set(None)


@overload
def current_actor(err_on_no_runtime: Literal[True] = True) -> Actor: ...
@overload
def current_actor(err_on_no_runtime: bool) -> Actor | None: ...
def current_actor(err_on_no_runtime: bool = True) -> Actor | None:
    """The actor this code runs in; ``NoRuntime`` (or None, if asked so) outside of any."""
    actor = actor_of_task()
    if actor is None and len(_live) == 1:
        actor = _live[0]
    if actor is None and err_on_no_runtime:
        raise NoRuntime("no actor runtime here: use open_root_actor() or open_nursery() first")
    return actor


def actor_of_task() -> Actor | None:
    """The live actor of this very task tree; None elsewhere, whatever else runs in this process."""
    actor = _actor.get()
    return actor if actor in _live else None


def actor_of_run() -> Actor | None:
    """The actor in which this code can start tasks: the current one, where it lives in this ``trio.run``."""
    actor = current_actor(err_on_no_runtime=False)
    here = trio.lowlevel.current_trio_token()
    return actor if actor is not None and actor.trio_token is here else None


def is_root_process() -> bool:
    """Whether this process is the root of its actor tree."""
    actor = current_actor(err_on_no_runtime=False)
    return actor is not None and actor.is_root


def debug_mode() -> bool:
    """Whether the tree runs with ``debug_mode=True``."""
    actor = current_actor(err_on_no_runtime=False)
    return actor is not None and bool(actor.runtime_vars.get("_debug_mode"))


def set_current_context(context: Context) -> None:
    """Called once in each task that serves a context."""
    _context.set(context)


@overload
def current_ipc_ctx(error_on_not_set: Literal[True]) -> Context: ...
@overload
def current_ipc_ctx(error_on_not_set: bool = False) -> Context | None: ...
def current_ipc_ctx(error_on_not_set: bool = False) -> Context | None:
    """The context that this task serves (callee side), or None; ``NoRuntime`` if asked to fail."""
    context = _context.get()
    if context is None and error_on_not_set:
        raise NoRuntime("this task serves no inter-actor context")
    return context
