"""What the tests of this directory share: trees and what runs in them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
import trio
import trio.testing

import tractor_core as tractor
from tractor_core.discovery.lookup import LocalRegistry
from tractor_core.discovery.registrar import Found
from tractor_core.seams import TransportOptions
from tractor_core.testing.mem import MemConnection, MemNetwork, MemTransport

HERE, THERE = "mem://registry", "mem://registry-of-others"
KEY = "a key of this tree alone"


async def whoami() -> str:
    return tractor.current_actor().name


async def pid_of(name: str) -> str | None:
    """What an actor elsewhere finds under a name: its uuid."""
    async with tractor.find_actor(name) as portal:
        return None if portal is None else portal.chan.aid.uuid


@asynccontextmanager
async def tree(**options: object) -> AsyncIterator[tractor.ActorNursery]:
    """A root that is the registrar, and a nursery of in-process actors that are ended with the block."""
    options = {"registry_addrs": [HERE], "start_method": "inproc", **options}
    async with tractor.open_root_actor(**options), tractor.open_nursery() as nursery:
        yield nursery
        await nursery.cancel()


async def registered(name: str) -> list[Found]:
    async with tractor.get_registry() as registry:
        found = await registry.run_from_ns("self", "find", name=name)
    return found if isinstance(registry, LocalRegistry) else [Found(**entry) for entry in found]


@contextmanager
def refusing(*names: str) -> Iterator[None]:
    """Whoever dials ``mem://<name>`` meanwhile is refused; who is bound there does not notice."""
    connect = MemTransport.connect

    async def refuse(
        self: MemTransport, address: tractor.Address, options: TransportOptions
    ) -> MemConnection:
        if address.host in names:
            await trio.lowlevel.checkpoint()
            raise ConnectionRefusedError(f"nobody listens on {address}")
        return await connect(self, address, options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemTransport, "connect", refuse)
        yield


@contextmanager
def taken_away(name: str) -> Iterator[None]:
    """``mem://<name>`` is free meanwhile, though somebody is bound there."""
    listeners = MemNetwork.current().listeners
    away = listeners.pop(name)
    yield
    listeners[name] = away


async def settled() -> None:
    await trio.testing.wait_all_tasks_blocked()


async def wait_for(name: str) -> str:
    async with tractor.wait_for_actor(name) as portal:
        return portal.chan.aid.uuid


async def fail_inside() -> None:
    async with tractor.find_actor("root"):
        raise KeyError


async def describe_registry() -> tuple[str, str]:
    async with tractor.get_registry() as registry:
        assert isinstance(registry, tractor.Portal)
        return registry.chan.aid.name, registry.chan.raddr.url


async def query(name: str) -> str | None:
    async with tractor.query_actor(name) as (address, _):
        return None if address is None else address.url


async def register_nonsense(addresses: object) -> None:
    async with tractor.open_portal(HERE) as portal:
        for wrong in ({"addresses": addresses}, {}, {"name": "root", "addresses": []}):
            with pytest.raises(tractor.RemoteActorError):
                await portal.run_from_ns("self", "register", **wrong)
        with pytest.raises(tractor.RemoteActorError):
            await portal.run_from_ns("self", "find", name=["a"])
        assert len(await portal.run_from_ns("self", "find", name="root")) == 1


@tractor.context
async def own_one(ctx: tractor.Context, name: str) -> None:
    async with tractor.open_nursery() as nursery:
        portal = await nursery.start_actor(name, enable_modules=[__name__])
        await ctx.started(portal.chan.aid.uuid)
        async with ctx.open_stream() as stream:
            async for _ in stream:
                pass
        await nursery.cancel()


#: The name under which actors expose these.
ENDPOINTS = __name__
