"""Look-ups: from a name to a portal."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Literal, overload

import trio

from tractor_core.errors import TractorError, TransportClosed
from tractor_core.ipc.channel import Channel
from tractor_core.log import get_logger
from tractor_core.runtime.actor import Actor
from tractor_core.runtime.dialling import dial, dial_any, dialled_portal
from tractor_core.runtime.portal import Portal
from tractor_core.runtime.state import current_actor
from tractor_core.seams import Address, AddressLike, parse_address

from .link import RegistryLink, found
from .registrar import Found, Registrar

log = get_logger("discovery")


class LocalRegistry:
    """What ``get_registry()`` yields inside the registrar: the registry itself, asked directly."""

    def __init__(self, registrar: Registrar) -> None:
        self.registrar = registrar
        self.chan: Channel | None = None

    async def run_from_ns(self, namespace: str, name: str, /, **kwargs: Any) -> Any:
        """The calls of namespace ``self`` that make sense for oneself: ``find`` and ``wait``."""
        if namespace == "self" and name == "find":
            return self.registrar.find(**kwargs)
        if namespace == "self" and name == "wait":
            return await self.registrar.wait(**kwargs)
        raise ValueError(f"the local registry serves self:find and self:wait, not {namespace}:{name}")


@asynccontextmanager
async def get_registry(addr: AddressLike | None = None) -> AsyncIterator[Portal | LocalRegistry]:
    """A portal to the registrar (a local shim inside it); ``addr`` asks for the one at that address."""
    actor = current_actor()
    link = actor.room(RegistryLink)
    if addr is not None and parse_address(addr) not in actor.reg_addrs:
        channel = await dial(actor, parse_address(addr))
        async with dialled_portal(actor, channel) as portal:
            yield portal
    elif link.local is not None:
        yield LocalRegistry(link.local)
    else:
        yield await link.portal()


@overload
def find_actor(
    name: str,
    *,
    registry_addrs: Sequence[AddressLike] | None = None,
    only_first: Literal[True] = True,
    raise_on_none: bool = False,
    enable_transports: Any = None,
) -> _PortalOrNone: ...
@overload
def find_actor(
    name: str,
    *,
    registry_addrs: Sequence[AddressLike] | None = None,
    only_first: Literal[False],
    raise_on_none: bool = False,
    enable_transports: Any = None,
) -> _Portals: ...
def find_actor(name: str, **options: Any) -> Any:
    """Find actors by name: yields a portal to the nearest, newest one, or None.

    Connected peers are tried first, then the registrar. ``only_first=False`` yields a list of portals to all of that name. ``raise_on_none``
    raises ``RuntimeError`` where there is none. A connection made for this is closed with the block.
    """
    return _find_actor(name, **options)


@asynccontextmanager
async def _find_actor(
    name: str,
    *,
    registry_addrs: Sequence[AddressLike] | None = None,
    only_first: bool = True,
    raise_on_none: bool = False,
    enable_transports: Any = None,
) -> AsyncIterator[Any]:
    if enable_transports is not None:
        warnings.warn("find_actor(enable_transports=) has no effect: addresses say their scheme", DeprecationWarning, 3)
    actor = current_actor()
    async with AsyncExitStack() as stack:
        portals: list[Portal] = []
        if registry_addrs is None and only_first:
            portals = _connected(actor, name)
        if not portals:
            for candidate in await _ask(actor, name, registry_addrs):
                portal = await _reach(actor, candidate, stack)
                if portal is not None:
                    portals.append(portal)
                    if only_first:
                        break
        if not portals and raise_on_none:
            raise RuntimeError(f"no actor named {name!r} is registered")
        if only_first:
            yield portals[0] if portals else None
        else:
            yield portals


@asynccontextmanager
async def wait_for_actor(name: str, registry_addr: AddressLike | None = None) -> AsyncIterator[Portal]:
    """Wait until an actor of that name is registered; yields a portal to it."""
    actor = current_actor()
    async with AsyncExitStack() as stack:
        portals = _connected(actor, name) if registry_addr is None else []
        portal = portals[0] if portals else None
        while portal is None:
            portal = await _wait_reachable(actor, name, registry_addr, stack)
        yield portal


async def _wait_reachable(
    actor: Actor, name: str, registry_addr: AddressLike | None, stack: AsyncExitStack
) -> Portal | None:
    """One round: what the registrar knows once it knows something, dialled."""
    for candidate in await _await_registration(actor, name, registry_addr):
        portal = await _reach(actor, candidate, stack)
        if portal is not None:
            return portal
    # Registered but not to be reached: it may be on its way out, or in.
    await trio.sleep(0.05)
    return None


async def _await_registration(actor: Actor, name: str, registry_addr: AddressLike | None) -> list[Found]:
    if registry_addr is None:
        return await actor.room(RegistryLink).wait(name)
    async with get_registry(registry_addr) as portal:
        return found(await portal.run_from_ns("self", "wait", name=name))


@asynccontextmanager
async def query_actor(
    name: str, regaddr: AddressLike | None = None
) -> AsyncIterator[tuple[Address | None, Portal | LocalRegistry]]:
    """Ask without connecting: yields ``(address, registrar_portal)``, the address None where there is none."""
    actor = current_actor()
    async with get_registry(regaddr) as portal:
        answer = await portal.run_from_ns("self", "find", name=name)
        candidates = answer if isinstance(portal, LocalRegistry) else found(answer)
        address: Address | None = None
        for candidate in candidates:
            if candidate.addresses:
                address = actor.nearest(candidate.addresses)
                break
        yield address, portal


@asynccontextmanager
async def watch_actors(prefix: str = "") -> AsyncIterator[AsyncIterator[tuple[str, str, list[str]]]]:
    """Watch registrations: yields an async iterator of ``(event, name, addresses)``.

    ``event`` is ``"registered"`` or ``"unregistered"``; what is registered already comes first. An actor's entry goes
    as soon as its channel to the registrar breaks.
    """
    actor = current_actor()
    link = actor.room(RegistryLink)
    if link.local is not None:
        with link.local.watching(prefix) as events:
            yield aiter(events)
        return
    portal = await link.portal()
    async with portal.open_system_context("watch", prefix=prefix) as (context, _):
        async with context.open_stream(overflow="block") as stream:
            yield _as_tuples(stream)
        await context.cancel()


async def _as_tuples(stream: Any) -> AsyncIterator[tuple[str, str, list[str]]]:
    async for event, name, addresses in stream:
        yield event, name, addresses


def _connected(actor: Actor, name: str) -> list[Portal]:
    """Portals to peers of that name which this actor spawned, was spawned by, or dialled."""
    channels = [
        channel
        for peers in actor.peers.values()
        for channel in peers
        if channel.aid.name == name
        and not channel.closed
        and (channel.dialled or channel.peer.method == "spawn")
    ]
    return [Portal(actor, channel) for channel in reversed(channels)]


async def _ask(actor: Actor, name: str, registry_addrs: Sequence[AddressLike] | None) -> list[Found]:
    if registry_addrs is None:
        return await actor.room(RegistryLink).find(name)
    candidates: list[Found] = []
    for addr in registry_addrs:
        try:
            async with get_registry(addr) as portal:
                answer = await portal.run_from_ns("self", "find", name=name)
                candidates += answer if isinstance(portal, LocalRegistry) else found(answer)
        except (OSError, TransportClosed) as error:
            log.runtime("registrar at %s not reached: %s", addr, error)
    return candidates


async def _reach(actor: Actor, candidate: Found, stack: AsyncExitStack) -> Portal | None:
    """Dial a registered actor; what refuses is reported, and None returned."""
    if candidate.uuid == actor.aid.uuid:
        return None
    channel, refused = await dial_any(actor, candidate.addresses, expect_uuid=candidate.uuid)
    if refused:
        try:
            await actor.room(RegistryLink).refused(candidate.uuid, [address.url for address in refused])
        except TractorError as error:
            log.runtime("refused addresses of %s not reported: %s", candidate.name, error)
    if channel is None:
        return None
    return await stack.enter_async_context(dialled_portal(actor, channel))
