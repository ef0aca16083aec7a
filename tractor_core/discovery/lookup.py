"""Look-ups: from a name to a portal."""

from __future__ import annotations

import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from typing import Any, Literal, overload

import trio

from tractor_core.errors import TractorError, TransportClosed
from tractor_core.ipc.channel import Channel
from tractor_core.log import get_logger
from tractor_core.msg.types import RUNTIME_CID
from tractor_core.runtime.actor import Actor
from tractor_core.runtime.dialling import dial, dial_any, dialled_portal, nearest_first
from tractor_core.runtime.portal import Portal
from tractor_core.runtime.state import current_actor
from tractor_core.seams import Address, AddressLike, parse_address

from .link import RegistryLink, found
from .registrar import Change, Found, Registrar

log = get_logger("discovery")


class LocalRegistry:
    """What ``get_registry()`` yields inside the registrar: the registry itself, asked directly."""

    def __init__(self, registrar: Registrar) -> None:
        self.registrar = registrar
        self.chan: Channel | None = None

    async def run_from_ns(self, namespace: str, name: str, /, **kwargs: Any) -> Any:
        """The calls of namespace ``self`` that make sense for oneself: ``find``, ``wait`` and ``refused``."""
        if namespace == "self" and name == "find":
            return self.registrar.find(**kwargs)
        if namespace == "self" and name == "wait":
            return await self.registrar.wait(**kwargs)
        if namespace == "self" and name == "refused":
            return await self.registrar.refused(**kwargs)
        raise ValueError(f"the local registry serves self:find, :wait and :refused, not {namespace}:{name}")


@asynccontextmanager
async def get_registry(addr: AddressLike | None = None) -> AsyncIterator[Portal | LocalRegistry]:
    """A portal to the registrar (a local shim inside it); ``addr`` asks for the one at that address.

    ``OSError`` where nobody can be reached there, ``TransportClosed`` where what answers is no registrar
    or this actor's own does not come back.
    """
    actor = current_actor()
    link = actor.room(RegistryLink)
    address = None if addr is None else address_of(actor, addr)
    if address is not None and not link.is_at(address):
        channel = await dial(actor, address)
        async with dialled_portal(actor, channel) as portal:
            if not channel.aid.is_registrar:
                raise TransportClosed(f"{channel.aid} at {address.url} is no registrar")
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
    enable_transports: Sequence[str] | None = None,
) -> AbstractAsyncContextManager[Portal | None]: ...
@overload
def find_actor(
    name: str,
    *,
    registry_addrs: Sequence[AddressLike] | None = None,
    only_first: Literal[False],
    raise_on_none: bool = False,
    enable_transports: Sequence[str] | None = None,
) -> AbstractAsyncContextManager[list[Portal]]: ...
@overload
def find_actor(
    name: str,
    *,
    registry_addrs: Sequence[AddressLike] | None = None,
    only_first: bool,
    raise_on_none: bool = False,
    enable_transports: Sequence[str] | None = None,
) -> AbstractAsyncContextManager[Portal | list[Portal] | None]: ...
def find_actor(
    name: str,
    *,
    registry_addrs: Sequence[AddressLike] | None = None,
    only_first: bool = True,
    raise_on_none: bool = False,
    enable_transports: Sequence[str] | None = None,
) -> AbstractAsyncContextManager[Any]:
    """Find actors by name: yields a portal to the newest one, at its nearest address, or None.

    Connected peers are tried first, then the registrar. ``only_first=False`` yields a list of portals to all
    of that name; ``raise_on_none`` raises ``RuntimeError`` where there is none. ``registry_addrs`` asks the
    registrars there instead of this actor's own; ``OSError`` or ``TransportClosed`` where none of them
    answers, ``AuthenticationFailed`` for one with another key. A connection made for this is closed with the
    block. An actor does not find itself.

    ``enable_transports`` (deprecated: the nearest address that answers is dialled in any case) passes over
    what is connected by, or listens with, other schemes than these; registrars are asked all the same.
    ``PluginError`` for one that nobody provides.
    """
    if enable_transports is not None:
        if isinstance(enable_transports, str):
            raise TypeError(
                f"enable_transports is a list, so write enable_transports=[{enable_transports!r}]"
            )
        message = (
            "find_actor(enable_transports=) is an old argument: the nearest address is dialled without it"
        )
        warnings.warn(message, DeprecationWarning, stacklevel=2)
    return _find_actor(name, registry_addrs, only_first, raise_on_none, enable_transports)


@asynccontextmanager
async def _find_actor(
    name: str,
    registry_addrs: Sequence[AddressLike] | None,
    only_first: bool,
    raise_on_none: bool,
    transports: Sequence[str] | None,
) -> AsyncIterator[Any]:
    actor = current_actor()
    schemes = None if transports is None else _schemes(actor, transports)
    async with AsyncExitStack() as stack:
        portals: list[Portal] = []
        if registry_addrs is None and only_first:
            portals = _connected(actor, name)
            if schemes is not None:
                portals = [portal for portal in portals if portal.chan.raddr.scheme in schemes]
        if not portals:
            for candidate, registrar in await _ask(actor, name, registry_addrs):
                if candidate.uuid == actor.aid.uuid:
                    continue
                if schemes is not None:
                    candidate.addresses = [
                        url for url in candidate.addresses if url.partition(":")[0] in schemes
                    ]
                portal = await _reach(actor, candidate, registrar, stack)
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
    """Wait until an actor of that name is registered; yields a portal to it.

    Of this actor's own name that is another one that goes by it, if there is one; else this actor itself,
    over a connection to its own listener: calls work, contexts are refused (they would wait for themselves).
    """
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
    candidates = await _await_registration(actor, name, registry_addr)
    # Itself last of all.
    for candidate in sorted(candidates, key=lambda each: each.uuid == actor.aid.uuid):
        portal = await _reach(actor, candidate, registry_addr, stack)
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
    """Ask without connecting: yields ``(address, registrar_portal)``, the address None if there is none."""
    actor = current_actor()
    async with get_registry(regaddr) as portal:
        answer = await portal.run_from_ns("self", "find", name=name)
        address: Address | None = None
        for candidate in found(answer):
            if candidate.addresses:
                reachable = nearest_first(actor, candidate.addresses)
                address = reachable[0] if reachable else parse_address(candidate.addresses[0])
                break
        yield address, portal


@asynccontextmanager
async def watch_actors(prefix: str = "") -> AsyncIterator[AsyncIterator[Change]]:
    """Watch registrations of names that begin with ``prefix``.

    Yields an async iterator of ``(event, name, addresses)``, where ``event`` is ``"registered"`` or
    ``"unregistered"``; what is registered already comes first. An actor's entry goes as soon as its channel
    to the registrar breaks. One who falls some 10,000 events behind gets ``trio.TooSlowError`` (boxed,
    outside of the registrar); ``TransportClosed`` when the registrar is gone.
    """
    actor = current_actor()
    link = actor.room(RegistryLink)
    if link.local is not None:
        async with link.local.watching(prefix) as changes:
            yield changes
        return
    portal = await link.portal()
    async with portal.open_system_context("watch", prefix=prefix) as (context, _):
        async with context.open_stream(overflow="block") as stream:
            async with aclosing(_as_tuples(stream)) as changes:
                yield changes
        await context.cancel()


async def _as_tuples(stream: Any) -> AsyncGenerator[Change, None]:
    async for event, name, addresses in stream:
        yield event, name, addresses


def address_of(actor: Actor, value: AddressLike) -> Address:
    """An address as its transport understands it; ``ValueError`` or ``PluginError`` say what is wrong."""
    address = parse_address(value)
    return actor.plugins.transport(address.scheme).parse(address.url)


def _schemes(actor: Actor, transports: Sequence[str]) -> set[str]:
    """The schemes of what these transports listen with; beside them those that only name it (``zmq``)."""
    return {*transports, *(actor.plugins.transport(name).default_bind().scheme for name in transports)}


def _connected(actor: Actor, name: str) -> list[Portal]:
    """Portals to peers of that name which this actor spawned, was spawned by, or dialled."""
    channels = [
        channel
        for peers in actor.peers.values()
        for channel in peers
        if channel.aid.name == name
        and not channel.closed
        and (channel.dialled or channel.peer.method == "spawn")
        # A child that is still being configured has nothing to offer yet.
        and RUNTIME_CID not in channel.dialogs
    ]
    return [Portal(actor, channel) for channel in reversed(channels)]


async def _ask(
    actor: Actor, name: str, registry_addrs: Sequence[AddressLike] | None
) -> list[tuple[Found, AddressLike | None]]:
    """What the registrars know of that name, and which one knew it (None: this actor's own)."""
    if registry_addrs is None:
        return [(candidate, None) for candidate in await actor.room(RegistryLink).find(name)]
    candidates: dict[str, tuple[Found, AddressLike]] = {}
    unreached: list[OSError | TransportClosed] = []
    for addr in registry_addrs:
        try:
            async with get_registry(addr) as portal:
                answer = await portal.run_from_ns("self", "find", name=name)
        except (OSError, TransportClosed) as error:
            log.runtime("registrar at %s not reached: %s", addr, error)
            unreached.append(error)
        else:
            for candidate in found(answer):
                candidates.setdefault(candidate.uuid, (candidate, addr))
    if unreached and len(unreached) == len(registry_addrs):
        raise unreached[-1]
    return [*candidates.values()]


async def _reach(
    actor: Actor, candidate: Found, registrar: AddressLike | None, stack: AsyncExitStack
) -> Portal | None:
    """Dial a registered actor; what refuses is reported to whom it was heard from. None: nothing answers."""
    channel, refused = await dial_any(actor, candidate.addresses, expect_uuid=candidate.uuid)
    if refused:
        # Beside: whoever looks somebody up need not wait until the registrar has checked this.
        urls = [address.url for address in refused]
        actor.network.start_soon(_report, actor, candidate, urls, registrar, name="refused addresses")
    if channel is None:
        return None
    return await stack.enter_async_context(dialled_portal(actor, channel))


async def _report(actor: Actor, candidate: Found, urls: list[str], registrar: AddressLike | None) -> None:
    try:
        if registrar is None:
            await actor.room(RegistryLink).refused(candidate.uuid, urls)
        else:
            async with get_registry(registrar) as portal:
                await portal.run_from_ns("self", "refused", uuid=candidate.uuid, addresses=urls)
    except (OSError, TractorError) as error:
        log.runtime("refused addresses of %s not reported: %s", candidate.name, error)
