"""``open_root_actor`` and ``open_nursery``: booting the runtime in this process."""

from __future__ import annotations

import resource
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Unpack

from tractor_core.runtime.actor import Actor
from tractor_core.runtime.state import actor_of_run
from tractor_core.runtime.status import serve_status
from tractor_core.supervision.adopted import reap_adopted
from tractor_core.supervision.nursery import ActorNursery, nursery_in
from tractor_core.supervision.policy import TeardownPolicy
from tractor_core.supervision.supervisor import Supervisor

from .keywords import RootKeywords, shows_root_keywords
from .main_module import describe_main
from .options import RootOptions, addresses_of, make_root
from .registry import settle_registry
from .running import run_actor
from .signals import drain_on_signals, reraise


@shows_root_keywords
@asynccontextmanager
async def open_root_actor(**options: Unpack[RootKeywords]) -> AsyncIterator[Actor]:
    """Boot the runtime in this process and yield its ``Actor``; leaving the block ends it.

    Keywords, all optional:

    - ``name``: the root's name, ``"root"``;
    - ``registry_addrs``: where registrars are; the first that answers is joined, and where none answers this
      actor becomes the registrar at all of them (default: the well-known address of each transport);
    - ``bind_addrs``: addresses to listen at, besides an ephemeral one for each transport that has none;
    - ``enable_transports``: URL schemes, best first (default: those of the addresses given, else
      ``["tcp"]``);
    - ``start_method``: the spawn backend of children, ``"subprocess"``;
    - ``enable_modules``: what peers may call here: module names and single async functions;
    - ``loglevel``: show log records of that level on standard error;
    - ``ensure_registry``: demand to be the registrar, else ``RuntimeError``;
    - ``auth_key``: the tree's secret (at least 16 bytes) in place of the user's cookie file;
    - ``auth_tokens``: ``{token: name}`` of clients, which may call functions of this actor (not of its
      children) that are marked ``@expose(clients=True)``, and nothing else; at least 16 bytes each;
    - ``client_tracebacks``: show such clients the tracebacks of what they make fail. Else they get the type,
      message and notes of an error, and its traceback goes to this actor's log;
    - ``ext_types``: how classes that msgspec does not know travel between all actors of the tree, a list of
      ``tractor_core.msg.ExtType``; children inherit them by the names of what is in them;
    - ``tls``: a ``TLSConfig`` for transports that use it; ``limits``: a ``Limits``;
    - ``heartbeat_interval``: seconds of silence after which a peer is pinged, 5 (or a third of the timeout);
      after twice that an unresponsive one is logged and reported to plugins. Inherited by children;
    - ``heartbeat_timeout``: close a channel over which nothing was heard for so many seconds, even if its
      peer only computes (default: never). Inherited by children;
    - ``plugins``: a ``PluginManager`` in place of the one made from the installed entry points.

    ``TRACTOR_LOGLEVEL``, ``TRACTOR_SPAWN_METHOD`` and ``TRACTOR_TRANSPORTS`` in the environment win over the
    arguments. SIGTERM ends the block gracefully and then the process by that signal; a second one ends it at
    once.

    Raises ``RuntimeError`` where an actor runs already, or where something else is at a registry address that
    was given; ``OSError`` when an address cannot be bound; ``PluginError`` for a transport that cannot be
    had; ``ValueError`` for an address that makes no sense or would be open to the network without a key.
    """
    async with root_actor(RootOptions(**options), (signal.SIGTERM,)) as actor:
        yield actor


@asynccontextmanager
async def root_actor(options: RootOptions, signals: Sequence[int]) -> AsyncIterator[Actor]:
    """What :func:`open_root_actor` does, draining on ``signals``."""
    actor = make_root(options)
    bind = addresses_of(actor.plugins, options.bind_addrs or ())
    explicit = options.registry_addrs is not None
    if options.registry_addrs is not None:
        registry = addresses_of(actor.plugins, options.registry_addrs)
    else:
        registry = [actor.plugins.transport(scheme).default_registry() for scheme in actor.transports]
    _raise_descriptor_limit()
    async with drain_on_signals(lambda signum: actor.cancel_soon(), signals) as drain:
        async with run_actor(actor) as listeners:
            supervisor = Supervisor(actor, main=describe_main())
            actor.furnish(supervisor)
            actor.network.start_soon(reap_adopted, supervisor.lifelines, name="reaping of orphans")
            serve_status(actor)
            await settle_registry(
                actor,
                listeners,
                registry=registry,
                explicit=explicit,
                bind=bind,
                ensure=options.ensure_registry,
            )
            # A tree that was killed as a whole had nobody left to do this.
            await supervisor.tidy()
            actor.runtime_vars["_registry_addrs"] = [address.url for address in actor.reg_addrs]
            actor.runtime_vars["_root_addrs"] = [address.url for address in actor.accept_addrs]
            yield actor
    if drain.signum is not None:
        reraise(drain.signum)


@shows_root_keywords
@asynccontextmanager
async def open_nursery(
    *, policy: TeardownPolicy | None = None, **root_options: Unpack[RootKeywords]
) -> AsyncIterator[ActorNursery]:
    """A block that owns actors. Boots a root actor implicitly where none runs, with ``root_options``.

    Leaving waits for run-once actors and then, indefinitely, for daemon actors. An error in the block or of a
    child cancels all children and is raised when they are gone: bare when it is one, as a group when there
    are several. ``policy`` sets the times of the teardown.
    """
    actor = actor_of_run()
    if actor is not None:
        if root_options:
            names = ", ".join(sorted(root_options))
            raise RuntimeError(f"a runtime is there already: {names} would have no effect here")
        async with nursery_in(actor, policy) as nursery:
            yield nursery
        return
    async with open_root_actor(**root_options) as root:
        async with nursery_in(root, policy) as nursery:
            yield nursery


def _raise_descriptor_limit() -> None:
    """A tree needs some descriptors per child; the soft limit is a default, the hard one a decision."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):
            pass  # some systems refuse "unlimited"; the soft limit stays
