"""The bootstrap rule: join the registrar that is there, or become it."""

from __future__ import annotations

import errno
from collections.abc import Sequence

import msgspec

from tractor_core.discovery.link import RegistryLink
from tractor_core.discovery.registrar import Registrar
from tractor_core.errors import AuthenticationFailed, TractorError
from tractor_core.ipc.channel import Channel
from tractor_core.log import get_logger
from tractor_core.runtime.actor import Actor
from tractor_core.runtime.dialling import dial
from tractor_core.seams import Address

from .binding import Listeners, default_addresses

log = get_logger("discovery")

#: How often a bind that lost the race for a registry address is answered by another probe.
ATTEMPTS = 3


class Occupied(Exception):
    """Something is at a registry address that is not a registrar this actor can join."""


async def settle_registry(
    actor: Actor,
    listeners: Listeners,
    *,
    registry: Sequence[Address],
    explicit: bool,
    bind: Sequence[Address],
    ensure: bool,
) -> None:
    """Make ``actor`` a member of a registry, or its registrar, listening at all its addresses.

    ``explicit`` says that the user named the registry addresses: then what is wrong with them is an error, else a private registrar is made, with a
    warning. ``ensure`` demands to be the registrar (``RuntimeError`` where there is one already).
    """
    for attempt in range(ATTEMPTS):
        try:
            channel = await _probe(actor, registry)
        except Occupied as error:
            if explicit:
                raise RuntimeError(f"{error}; choose another registry address") from error.__cause__
            log.warning("%s; this tree keeps a private registry instead", error)
            registry = [actor.plugins.transport(a.scheme).default_bind() for a in registry]
            channel = None
        if channel is not None:
            await _join(actor, listeners, channel, registry, bind, ensure)
            return
        try:
            await _become(actor, listeners, registry, bind)
            return
        except OSError as error:
            # Somebody else became the registrar since nobody was found: join them.
            if error.errno != errno.EADDRINUSE or attempt == ATTEMPTS - 1:
                raise


async def _probe(actor: Actor, registry: Sequence[Address]) -> Channel | None:
    """A channel to the first registrar that answers; None where nobody listens anywhere."""
    for address in registry:
        if address.port == 0:
            continue
        try:
            channel = await dial(actor, address)
        except ConnectionRefusedError:
            continue
        except AuthenticationFailed as error:
            raise Occupied(f"a registrar with another key answers at {address.url}: {error}") from error
        except (TractorError, OSError) as error:
            raise Occupied(f"something that is no registrar answers at {address.url}: {error}") from error
        if channel.aid.is_registrar:
            return channel
        await channel.aclose()
        raise Occupied(f"actor {channel.aid} at {address.url} is no registrar")
    return None


async def _join(
    actor: Actor,
    listeners: Listeners,
    channel: Channel,
    registry: Sequence[Address],
    bind: Sequence[Address],
    ensure: bool,
) -> None:
    if ensure:
        raise RuntimeError(f"{channel.aid} is the registrar at {channel.raddr.url} already (ensure_registry=True)")
    actor.reg_addrs = list(registry)
    await listeners.open([*bind, *default_addresses(actor, bind)])
    link = RegistryLink(actor)
    link.use(channel)
    actor.furnish(link)
    await link.register()
    actor.network.start_soon(link.keep, name="registry link")


async def _become(
    actor: Actor, listeners: Listeners, registry: Sequence[Address], bind: Sequence[Address]
) -> None:
    actor.become(msgspec.structs.replace(actor.aid, is_registrar=True))
    registrar = Registrar(actor)
    registrar.serve()
    try:
        await listeners.open([*registry, *bind, *default_addresses(actor, [*registry, *bind])])
    except BaseException:
        actor.become(msgspec.structs.replace(actor.aid, is_registrar=False))
        raise
    actor.reg_addrs = actor.accept_addrs[: len(registry)]
    link = RegistryLink(actor, registrar=registrar)
    actor.furnish(link)
    await link.register()
