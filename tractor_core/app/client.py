"""``open_portal``: dialling an actor by URL, with or without a runtime of one's own."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

from tractor_core.errors import PluginError
from tractor_core.ipc.channel import Channel
from tractor_core.ipc.cookie import load_key
from tractor_core.ipc.limits import Limits
from tractor_core.msg.exposure import Exposed
from tractor_core.msg.types import Aid, Cancel
from tractor_core.plugin.manager import PluginManager
from tractor_core.protocol.handshake import Identity
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
) -> AsyncIterator[Portal]:
    """Dial an actor by its address; no registrar is needed.

    From inside an actor the connection is that actor's own, unless ``auth_key`` or ``tls`` are given. Else
    this makes a light client, called ``name``: it can call and is not called, listens nowhere, spawns nothing
    and is not what ``current_actor()`` finds.

    Raises ``OSError`` when nobody can be reached there, ``AuthenticationFailed`` when one side refuses the
    other, ``TransportClosed`` for what is no actor.
    """
    if token is not None:
        raise PluginError("clients that prove themselves by a token (token=) are not part of this version")
    target = parse_address(address)
    actor = actor_of_task()
    if actor is not None and auth_key is None and tls is None:
        channel = await dial(actor, target)
        async with dialled_portal(actor, channel) as portal:
            yield portal
        return
    plugins = PluginManager.from_environment() if actor is None else actor.plugins
    client = _light_client(plugins, auth_key, tls, name or f"client-{os.getpid()}")
    async with run_actor(client, current=False):
        channel = await dial(client, target)
        async with dialled_portal(client, channel) as portal:
            yield portal


class LightClient(Actor):
    """An actor without a tree: what nobody supervises, nobody else ends either."""

    def on_runtime_cancel(self, channel: Channel, message: Cancel) -> bool:
        return False


def _light_client(
    plugins: PluginManager, auth_key: bytes | str | None, tls: TLSConfig | None, name: str
) -> Actor:
    key, explicit = load_key(auth_key, os.environ)
    actor = LightClient(
        Identity(Aid(name, str(uuid4()), os.getpid()), key, explicit),
        plugins=plugins,
        limits=Limits(),
        exposed=Exposed(),
        is_root=False,
        runtime_vars={},
    )
    actor.tls = load_tls(tls, os.environ)
    return actor
