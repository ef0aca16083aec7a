"""``open_portal``: dialling an actor by URL, with or without a runtime of one's own."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

from tractor_core.errors import PluginError
from tractor_core.ipc.cookie import load_key
from tractor_core.ipc.limits import Limits
from tractor_core.msg.exposure import Exposed
from tractor_core.msg.types import Aid
from tractor_core.plugin.manager import PluginManager
from tractor_core.protocol.handshake import Identity
from tractor_core.runtime.actor import Actor
from tractor_core.runtime.dialling import dial, dialled_portal
from tractor_core.runtime.portal import Portal
from tractor_core.runtime.state import current_actor
from tractor_core.seams import AddressLike, TLSConfig, parse_address

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

    From inside an actor the connection is that actor's own. From plain trio code this makes a light client, called ``name``: it can call and is
    not called, listens nowhere and spawns nothing. Raises ``OSError`` when nobody can be reached there, ``AuthenticationFailed`` when one side
    refuses the other, ``TransportClosed`` for what is no actor.
    """
    if token is not None:
        raise PluginError("clients that prove themselves by a token are not part of this version of tractor-core")
    target = parse_address(address)
    actor = current_actor(err_on_no_runtime=False)
    if actor is not None and auth_key is None and tls is None:
        channel = await dial(actor, target)
        async with dialled_portal(actor, channel) as portal:
            yield portal
        return
    client = _light_client(auth_key, tls, name or f"client-{os.getpid()}")
    async with run_actor(client):
        channel = await dial(client, target)
        async with dialled_portal(client, channel) as portal:
            yield portal


def _light_client(auth_key: bytes | str | None, tls: TLSConfig | None, name: str) -> Actor:
    key, explicit = load_key(auth_key, os.environ)
    actor = Actor(
        Identity(Aid(name, str(uuid4()), os.getpid()), key, explicit),
        plugins=PluginManager.from_environment(),
        limits=Limits(),
        exposed=Exposed(),
        is_root=False,
        runtime_vars={},
    )
    actor.tls = tls
    return actor
