"""Entries of a registry: how they come, go, and survive the registrar."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from lookup_trees import (
    ENDPOINTS,
    HERE,
    THERE,
    own_one,
    pid_of,
    refusing,
    register_nonsense,
    registered,
    tree,
    wait_for,
    whoami,
)
from other_roots import OtherRoot, other_root

import tractor_core as tractor
from tractor_core.discovery.lookup import LocalRegistry
from tractor_core.discovery.registrar import MAX_ADDRESSES
from tractor_core.errors import TransportClosed
from tractor_core.testing.mem import MemNetwork

# -- entries come and go ---------------------------------------------------------------------------


async def test_a_child_of_a_child_is_registered_and_goes_with_its_end(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with tree() as nursery:
        child = await nursery.start_actor("child", enable_modules=[ENDPOINTS])
        async with child.open_context(own_one, name="grandchild") as (ctx, uuid):
            assert await pid_of("grandchild") == uuid
            async with tractor.find_actor("grandchild", raise_on_none=True) as portal:
                assert portal is not None
                assert await portal.run(whoami) == "grandchild"
                assert await portal.run(pid_of, "child") == child.chan.aid.uuid
            async with ctx.open_stream():
                pass
        assert await registered("grandchild") == []
        assert len(await registered("child")) == 1


async def test_two_who_are_refused_at_the_same_address_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Both reports are checked, one address goes once, and the registrar lives."""
    async with tree() as nursery:
        worker = await nursery.start_actor("worker", bind_addrs=["mem://one", "mem://two"])
        with refusing("one"):

            async def look() -> None:
                async with tractor.get_registry() as registry:
                    assert isinstance(registry, LocalRegistry)
                    await registry.registrar.refused(worker.chan.aid.uuid, ["mem://one"])

            async with trio.open_nursery() as lookers:
                lookers.start_soon(look)
                lookers.start_soon(look)
        (found,) = await registered("worker")
        assert found.addresses == ["mem://two"]


async def test_an_ended_actor_is_gone_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with tree() as nursery:
        asker = await nursery.start_actor("asker", enable_modules=[ENDPOINTS])
        worker = await nursery.start_actor("worker", enable_modules=[ENDPOINTS])
        assert await worker.cancel_actor()
        await worker.chan.wait_closed()
        assert await registered("worker") == []
        assert await pid_of("worker") is None
        assert await asker.run(pid_of, "worker") is None


async def test_an_ending_actor_does_not_register_again(autojump_clock: trio.testing.MockClock) -> None:
    async with tree():
        async with tractor.watch_actors("other") as changes:
            async with other_root(name="other", registry_addrs=[HERE]):
                pass
            seen = []
            with trio.move_on_after(60):
                async for change in changes:
                    seen.append(change[0])
        assert seen == ["registered", "unregistered"]


async def test_a_cut_connection_takes_the_entry_along_until_it_is_made_anew(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with tree(), other_root(name="other", registry_addrs=[HERE]) as other:
        async with tractor.watch_actors("other") as changes:
            assert (await anext(changes))[0] == "registered"
            for connection in MemNetwork.current().dialled("registry"):
                connection.abort()
            assert (await anext(changes))[0] == "unregistered"
            assert (await anext(changes))[0] == "registered"
        assert [entry.uuid for entry in await registered("other")] == [other.actor.aid.uuid]


# -- what a registrar takes ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "addresses", [["nonsense"], [5], 5, None, ["mem://a"] * (MAX_ADDRESSES + 1), [["tcp", "x", "y"]]]
)
async def test_nonsense_is_not_registered(autojump_clock: trio.testing.MockClock, addresses: object) -> None:
    async with tree():
        async with other_root(name="other", registry_addrs=["mem://own"]) as other:
            await other.run(register_nonsense, addresses)
        assert [entry.name for entry in await registered("root")] == ["root"]


async def test_the_old_name_of_the_registrar() -> None:
    from tractor_core.discovery import registrar

    with pytest.warns(DeprecationWarning, match="Registrar"):
        assert registrar.Arbiter is tractor.Registrar


# -- a registrar that goes -------------------------------------------------------------------------


async def test_without_a_registrar_connected_peers_go_on_and_everybody_registers_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with other_root(registry_addrs=[HERE]) as old:
        async with (
            tractor.open_root_actor(name="member", registry_addrs=[HERE], start_method="inproc"),
            tractor.open_nursery() as nursery,
        ):
            worker = await nursery.start_actor("worker", enable_modules=[ENDPOINTS])
            await old.close()
            assert await worker.run(whoami) == "worker"
            async with tractor.find_actor("worker") as portal:
                assert portal is not None
            began = trio.current_time()
            with pytest.raises(TransportClosed, match="registrar is gone"):
                await pid_of("stranger")
            assert trio.current_time() - began < 10
            await trio.sleep(300)
            async with trio.open_nursery() as tasks:
                waited: list[str] = []

                async def waiting() -> None:
                    waited.append(await wait_for("stranger"))

                tasks.start_soon(waiting)
                await trio.sleep(300)
                async with other_root(name="stranger", registry_addrs=[HERE]) as new:
                    await trio.sleep(10)
                    assert await new.run(registered, "member")
                    assert await new.run(registered, "worker")
                    assert await new.run(pid_of, "worker") == worker.chan.aid.uuid
                    assert waited == [new.actor.aid.uuid]
            await nursery.cancel()


async def test_waiting_goes_on_when_the_registrar_ends_and_comes_back(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def run_registrar(nursery: trio.Nursery) -> OtherRoot:
        return await nursery.start(_keep_root, HERE)

    async with trio.open_nursery() as registrars:
        old = await run_registrar(registrars)
        async with tractor.open_root_actor(name="member", registry_addrs=[HERE]):
            async with trio.open_nursery() as tasks:
                waited: list[str] = []

                async def waiting() -> None:
                    waited.append(await wait_for("awaited"))

                tasks.start_soon(waiting)
                await trio.sleep(1)
                await old.close()
                await trio.sleep(20)
                await run_registrar(registrars)
                await trio.sleep(20)
                assert waited == []
                async with other_root(name="awaited", registry_addrs=[HERE]) as late:
                    await trio.sleep(1)
                    assert waited == [late.actor.aid.uuid]
        registrars.cancel_scope.cancel()


async def _keep_root(registry: str, *, task_status: trio.TaskStatus[OtherRoot]) -> None:
    async with other_root(registry_addrs=[registry]) as root:
        task_status.started(root)
        await root.ended.wait()


async def test_a_link_never_settles_on_an_actor_that_is_no_registrar(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with other_root(registry_addrs=[HERE]) as old:
        async with tractor.open_root_actor(name="member", registry_addrs=[HERE]) as member:
            await old.close()
            async with other_root(registry_addrs=[THERE], bind_addrs=[]) as third:
                async with other_root(name="plain", registry_addrs=[THERE], bind_addrs=[HERE]):
                    await trio.sleep(20)
                    assert not any(c.aid.name == "plain" for peers in member.peers.values() for c in peers)
                    assert third.actor.is_registrar
            async with other_root(name="right", registry_addrs=[HERE]) as right:
                await trio.sleep(10)
                assert await right.run(registered, "member")
