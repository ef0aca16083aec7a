"""tractor-core: structured concurrency across processes, on trio.

"Just trio, across processes": an actor is a process that runs one trio task tree; actors form a
supervised tree; tasks in different actors are linked in pairs by a context. Transports and spawn
backends are plugins::

    import tractor_core as tractor
"""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import TYPE_CHECKING

# Layers point one way: seams <- msg <- protocol <- ipc <- runtime <- {supervision, discovery} <- app <- here.
# Every name is imported when it is first asked for: a new actor imports this package on its way to
# `app.child` and needs few of them, and whoever only decorates endpoints should not wait for the rest.

if TYPE_CHECKING:
    from . import devx as devx
    from . import errors as errors
    from . import log as log
    from . import msg as msg
    from . import to_asyncio as to_asyncio
    from . import trionics as trionics
    from .app.client import open_portal
    from .app.cluster import open_actor_cluster
    from .app.daemon import run_daemon
    from .app.root import open_nursery, open_root_actor
    from .discovery.lookup import find_actor, get_registry, query_actor, wait_for_actor, watch_actors
    from .discovery.registrar import Registrar
    from .errors import (
        ActorDied,
        ActorTooSlowError,
        ContextCancelled,
        ModuleNotExposed,
        MsgTypeError,
        NoRuntime,
        RemoteActorError,
        StreamOverrun,
        TransportClosed,
    )
    from .ipc.channel import Channel
    from .ipc.limits import Limits
    from .msg.exposure import expose
    from .runtime.actor import Actor
    from .runtime.context import Context
    from .runtime.contextual import context, stream
    from .runtime.portal import Portal
    from .runtime.state import current_actor, current_ipc_ctx, debug_mode, is_root_process
    from .runtime.stream import MsgStream
    from .runtime.vars import RuntimeVars, get_runtime_vars
    from .seams import Address, TLSConfig
    from .supervision.nursery import ActorNursery
    from .supervision.policy import TeardownPolicy

__version__ = "0.1.0"

__all__ = [
    "Actor",
    "ActorDied",
    "ActorNursery",
    "ActorTooSlowError",
    "Address",
    "Channel",
    "Context",
    "ContextCancelled",
    "Limits",
    "ModuleNotExposed",
    "MsgStream",
    "MsgTypeError",
    "NoRuntime",
    "Portal",
    "Registrar",
    "RemoteActorError",
    "RuntimeVars",
    "StreamOverrun",
    "TLSConfig",
    "TeardownPolicy",
    "TransportClosed",
    "context",
    "current_actor",
    "current_ipc_ctx",
    "debug_mode",
    "expose",
    "find_actor",
    "get_registry",
    "get_runtime_vars",
    "is_root_process",
    "open_actor_cluster",
    "open_nursery",
    "open_portal",
    "open_root_actor",
    "query_actor",
    "run_daemon",
    "stream",
    "wait_for_actor",
    "watch_actors",
]

#: Names by the module that has them; the imports above say the same to type checkers.
_MODULES = {
    "app.client": ("open_portal",),
    "app.cluster": ("open_actor_cluster",),
    "app.daemon": ("run_daemon",),
    "app.root": ("open_nursery", "open_root_actor"),
    "discovery.lookup": ("find_actor", "get_registry", "query_actor", "wait_for_actor", "watch_actors"),
    "discovery.registrar": ("Registrar",),
    "errors": (
        "ActorDied",
        "ActorTooSlowError",
        "ContextCancelled",
        "ModuleNotExposed",
        "MsgTypeError",
        "NoRuntime",
        "RemoteActorError",
        "StreamOverrun",
        "TransportClosed",
    ),
    "ipc.channel": ("Channel",),
    "ipc.limits": ("Limits",),
    "msg.exposure": ("expose",),
    "runtime.actor": ("Actor",),
    "runtime.context": ("Context",),
    "runtime.contextual": ("context", "stream"),
    "runtime.portal": ("Portal",),
    "runtime.state": ("current_actor", "current_ipc_ctx", "debug_mode", "is_root_process"),
    "runtime.stream": ("MsgStream",),
    "runtime.vars": ("RuntimeVars", "get_runtime_vars"),
    "seams": ("Address", "TLSConfig"),
    "supervision.nursery": ("ActorNursery",),
    "supervision.policy": ("TeardownPolicy",),
}

_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

#: Attributes too, and left out of ``__all__``: a star import would load what they need (asyncio, a debugger).
_SUBMODULES = frozenset({"devx", "errors", "log", "msg", "to_asyncio", "trionics"})

#: Old names, by the new one.
_RENAMED = {"Arbiter": "Registrar"}

if TYPE_CHECKING:
    Arbiter = Registrar
else:
    # Not seen by type checkers, which would take every misspelt name for one that is found here.
    def __getattr__(name: str) -> object:
        if name in _SUBMODULES:
            return import_module(f".{name}", __name__)
        if name in _RENAMED:
            warnings.warn(f"{__name__}.{name} is now {_RENAMED[name]}", DeprecationWarning, stacklevel=2)
        home = _MODULE_OF.get(_RENAMED.get(name, name))
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = getattr(import_module(f".{home}", __name__), _RENAMED.get(name, name))
        globals()[name] = found  # so that the next use is an ordinary one
        return found


def __dir__() -> list[str]:
    return sorted({*__all__, *_SUBMODULES, *(name for name in globals() if name.startswith("__"))})
