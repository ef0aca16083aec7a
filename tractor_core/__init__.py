"""tractor-core: structured concurrency across processes, on trio.

"Just trio, across processes": an actor is a process that runs one trio task tree; actors form a
supervised tree; tasks in different actors are linked in pairs by a context. Transports and spawn backends are plugins::

    import tractor_core as tractor
"""

from .app.client import open_portal
from .app.cluster import open_actor_cluster
from .app.daemon import run_daemon
from .app.root import open_nursery, open_root_actor
from .discovery.lookup import find_actor, get_registry, query_actor, wait_for_actor, watch_actors
from .discovery.registrar import Registrar
from .errors import (
    ActorDied,
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
