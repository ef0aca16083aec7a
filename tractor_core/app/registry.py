"""The bootstrap rule: join the registrar that is there, or become it."""

from __future__ import annotations

import errno
import random
from collections.abc import Sequence

import msgspec
import trio

from tractor_core.discovery.link import RegistryLink
from tractor_core.discovery.registrar import Registrar
from tractor_core.errors import (
    AuthenticationFailed,
    FrameTooLarge,
    TractorError,
    TransportClosed,
)
from tractor_core.ipc.channel import Channel
from tractor_core.log import get_logger
from tractor_core.protocol.handshake import HandshakeError
from tractor_core.runtime.actor import Actor
from tractor_core.runtime.dialling import dial, told
from tractor_core.seams import Address

from .binding import Listeners, default_addresses

log = get_logger("discovery")

#: How often this is tried when something changes under this actor's hands: a bind lost against another
#: root, a registrar that was just ending. Of these, how often one that hangs up may be taken for the latter.
ATTEMPTS, PROBES = 5, 3

#: Seconds between two such attempts, at most: random, so that two roots do not keep in step.
PAUSE = 0.1


class Occupied(Exception):
    """Something is at a registry address that is not a registrar this actor can join."""


class _Changed(Exception):
    """What was found is no longer so: look again. ``__cause__`` says what it was."""


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

    ``explicit`` says that the user named the registry addresses: then what is wrong with them is an error
    (``RuntimeError`` for what else answers there, ``OSError`` for what cannot be reached), else a private
    registrar is made, with a warning. ``ensure`` demands to be the registrar (``RuntimeError`` where there
    is one already).
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            channel, private = await _find_or_not(actor, registry, explicit, again=attempt < PROBES)
            if channel is None:
                await _become(actor, listeners, private or registry, bind, contested=not private)
            elif ensure:
                raise RuntimeError(
                    f"{channel.aid} is the registrar at {channel.raddr.url} already (ensure_registry=True)"
                )
            else:
                await _join(actor, listeners, channel, registry, bind)
            return
        except _Changed as changed:
            assert changed.__cause__ is not None
            log.runtime("registry addresses changed hands: %s", changed.__cause__)
            if attempt == ATTEMPTS:
                raise changed.__cause__ from None
        await trio.sleep(random.uniform(0, PAUSE))


async def _find_or_not(
    actor: Actor, registry: Sequence[Address], explicit: bool, *, again: bool
) -> tuple[Channel | None, list[Address]]:
    """A channel to the registrar that is there, if any; where to make a private one, if one must be."""
    try:
        return await _probe(actor, registry, again), []
    except (Occupied, OSError) as error:
        if explicit:
            if isinstance(error, OSError):
                raise
            raise RuntimeError(f"{error}; choose another registry address") from error.__cause__
        log.warning("%s; this tree keeps a private registry instead", error)
        return None, [actor.plugins.transport(address.scheme).default_bind() for address in registry]


async def _probe(actor: Actor, registry: Sequence[Address], again: bool) -> Channel | None:
    """A channel to the first registrar that answers; None where nobody listens anywhere.

    ``Occupied`` for the first of something else; ``OSError`` where one cannot be reached and none answers.
    """
    unreachable: OSError | None = None
    for address in registry:
        if address.port == 0:
            continue
        try:
            channel = await _dial_registrar(actor, address, again)
        except ConnectionRefusedError:
            continue
        except OSError as error:
            unreachable = unreachable or error
            continue
        return channel
    if unreachable is not None:
        raise unreachable
    return None


async def _dial_registrar(actor: Actor, address: Address, again: bool) -> Channel:
    """A channel to the registrar there; ``OSError`` or ``Occupied`` where there is none.

    ``again`` allows ``_Changed`` for one that hangs up, which may be a registrar that is ending.
    """
    began = trio.current_time()
    try:
        channel = await dial(actor, address)
    except AuthenticationFailed as error:
        raise Occupied(f"an actor with another key answers at {address.url}: {error}") from error
    except TractorError as error:
        occupied = Occupied(f"something that is no registrar answers at {address.url}: {error}")
        if again and _hung_up(error) and trio.current_time() - began < PAUSE:
            raise _Changed from occupied
        raise occupied from error
    if channel.aid.is_registrar:
        return channel
    await channel.aclose()
    raise Occupied(f"actor {channel.aid} at {address.url} is no registrar")


def _hung_up(error: TractorError) -> bool:
    """Whether it broke off without having said anything foreign, as a listener does that is just closing."""
    return (
        isinstance(error, TransportClosed)
        and not isinstance(error, FrameTooLarge)
        and not isinstance(error.src_exc, HandshakeError)
    )


async def _join(
    actor: Actor,
    listeners: Listeners,
    channel: Channel,
    registry: Sequence[Address],
    bind: Sequence[Address],
) -> None:
    # The one that answered first: whoever inherits these addresses shall find the same registrar.
    actor.reg_addrs = [channel.raddr, *(address for address in registry if address != channel.raddr)]
    await listeners.open([*bind, *default_addresses(actor, bind)])
    link = RegistryLink(actor)
    link.use(channel)
    try:
        await link.register()
    except (OSError, TractorError) as error:
        # It was just ending. Whoever comes next at its address is the one to join, or this actor is.
        await channel.aclose()
        await listeners.aclose()
        raise _Changed from error
    actor.furnish(link)
    actor.network.start_soon(link.keep, name="registry link")


async def _become(
    actor: Actor,
    listeners: Listeners,
    registry: Sequence[Address],
    bind: Sequence[Address],
    *,
    contested: bool,
) -> None:
    # What the first caller finds must be a registrar in every respect.
    actor.become(msgspec.structs.replace(actor.aid, is_registrar=True))
    registrar = Registrar(actor)
    registrar.serve()
    own = [*registry, *(address for address in bind if address not in registry or address.port == 0)]
    try:
        await listeners.open([*own, *default_addresses(actor, own)])
    except OSError as error:
        registrar.retire()
        actor.become(msgspec.structs.replace(actor.aid, is_registrar=False))
        if contested and error.errno == errno.EADDRINUSE:
            # Somebody else may have become the registrar since nobody was found: join them.
            raise _Changed from error
        raise
    actor.reg_addrs = told(actor.accept_addrs[: len(registry)] or actor.accept_addrs)
    link = RegistryLink(actor, registrar=registrar)
    actor.furnish(link)
    await link.register()
