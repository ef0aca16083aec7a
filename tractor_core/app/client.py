"""``open_portal``: dialling an actor by URL, with or without a runtime of one's own."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import uuid4

from tractor_core.ipc.channel import Channel
from tractor_core.ipc.cookie import load_key
from tractor_core.ipc.limits import Limits
from tractor_core.msg.exposure import Exposed
from tractor_core.msg.extension import ExtType
from tractor_core.msg.types import Aid, Cancel
from tractor_core.plugin.manager import PluginManager
from tractor_core.protocol.handshake import Identity
from tractor_core.protocol.liveness import Heartbeat
from tractor_core.runtime.actor import Actor
from tractor_core.runtime.dialling import dial, dialled_portal
from tractor_core.runtime.portal import Portal
from tractor_core.runtime.state import actor_of_task
from tractor_core.seams import AddressLike, TLSConfig, parse_address
from tractor_core.seams.tls import load_tls

from .running import run_actor


@asynccontextmanager
async def open_portal(
    address: AddressLike,
    *,
    auth_key: bytes | str | None = None,
    token: str | None = None,
    tls: TLSConfig | None = None,
    name: str | None = None,
    ext_types: Sequence[ExtType] | None = None,
    heartbeat_interval: float | None = None,
    heartbeat_timeout: float | None = None,
) -> AsyncIterator[Portal]:
    """Dial an actor by its address; no registrar is needed.

    From inside an actor the connection is that actor's own, unless ``auth_key``, ``token``, ``tls`` or
    ``ext_types`` are given. Else this makes a light client, called ``name``: it can call and is not called,
    listens nowhere, spawns nothing and is not what ``current_actor()`` finds.

    With a ``token`` it proves that and needs no key; it may then call what is marked
    ``@expose(clients=True)``, goes by the name that belongs to the token, and knows of the actor only that
    it holds the token too.

    ``ext_types`` are the types of the other actor's tree that a light client knows (left out: those of the
    actor that this is called in).

    ``heartbeat_timeout`` closes the connection when nothing was heard over it for so many seconds, even if
    the actor only computes; ``heartbeat_interval`` is the silence after which it is pinged. See
    ``open_root_actor()``; left out, both are those of the actor that this is called in.

    Raises ``OSError`` when nobody can be reached there, ``AuthenticationFailed`` when one side refuses the
    other, ``TransportClosed`` for what is no actor.
    """
    if token is not None and auth_key is not None:
        raise ValueError("prove yourself by a token or by the tree's key, not by both")
    target = parse_address(address)
    actor = actor_of_task()
    heartbeat = None
    if heartbeat_interval is not None or heartbeat_timeout is not None:
        heartbeat = Heartbeat.of(heartbeat_interval, heartbeat_timeout)
    elif actor is not None:
        heartbeat = actor.heartbeats.default
    own = auth_key is None and token is None and tls is None and ext_types is None
    if actor is not None and own:
        channel = await dial(actor, target, heartbeat=heartbeat)
        async with dialled_portal(actor, channel) as portal:
            yield portal
        return
    plugins = PluginManager.from_environment() if actor is None else actor.plugins
    # The key is random where it is not asked for: a client of a token need not be able to read the cookie.
    key, explicit = (secrets.token_bytes(32), True) if token is not None else load_key(auth_key, os.environ)
    identity = Identity(Aid(name or f"client-{os.getpid()}", str(uuid4()), os.getpid()), key, explicit)
    client = _light_client(plugins, identity, tls)
    if ext_types is None:
        ext_types = () if actor is None else actor.ext_types
    client.use_ext_types(ext_types)
    async with run_actor(client, current=False):
        if token is not None:
            channel = await dial(client, target, method="token", secret=token.encode(), heartbeat=heartbeat)
        else:
            channel = await dial(client, target, heartbeat=heartbeat)
        async with dialled_portal(client, channel) as portal:
            yield portal


class LightClient(Actor):
    """An actor without a tree: what nobody supervises, nobody else ends either."""

    def on_runtime_cancel(self, channel: Channel, message: Cancel) -> bool:
        return False


def _light_client(plugins: PluginManager, identity: Identity, tls: TLSConfig | None) -> Actor:
    actor = LightClient(
        identity,
        plugins=plugins,
        limits=Limits(),
        exposed=Exposed(),
        is_root=False,
        runtime_vars={},
    )
    actor.tls = load_tls(tls, os.environ)
    return actor
