"""From a name to a portal: find, wait, query, and portals to registrars."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from lookup_trees import (
    ENDPOINTS,
    HERE,
    KEY,
    THERE,
    describe_registry,
    fail_inside,
    pid_of,
    query,
    refusing,
    registered,
    settled,
    taken_away,
    tree,
    wait_for,
    whoami,
)
from other_roots import OtherRoot, other_root

import tractor_core as tractor
from tractor_core.discovery.link import RegistryLink
from tractor_core.discovery.lookup import LocalRegistry
from tractor_core.errors import AuthenticationFailed, TransportClosed
from tractor_core.testing.mem import MemNetwork, MemTransport

# -- find_actor ------------------------------------------------------------------------------------


async def test_an_actor_is_found_as_soon_as_it_was_started(autojump_clock: trio.testing.MockClock) -> None:
    async with tree() as nursery:
        started = await nursery.start_actor("worker", enable_modules=[ENDPOINTS])
        async with tractor.find_actor("worker") as portal:
            assert portal is not None
            # A connected peer: no second connection is made, and none closed.
            assert portal.chan is started.chan
        assert started.chan.connected()
        assert [entry.uuid for entry in await registered("worker")] == [started.chan.aid.uuid]


async def test_siblings_find_each_other(autojump_clock: trio.testing.MockClock) -> None:
    async with tree() as nursery:
        one = await nursery.start_actor("one", enable_modules=[ENDPOINTS])
        two = await nursery.start_actor("two", enable_modules=[ENDPOINTS])
        assert await one.run(pid_of, "two") == two.chan.aid.uuid
        assert await two.run(pid_of, "one") == one.chan.aid.uuid
        assert await one.run(pid_of, "root") == tractor.current_actor().aid.uuid
        assert await one.run(pid_of, "nobody") is None


async def test_nobody_of_that_name(autojump_clock: trio.testing.MockClock) -> None:
    async with tree():
        async with tractor.find_actor("nobody") as portal:
            assert portal is None
        async with tractor.find_actor("nobody", only_first=False) as portals:
            assert portals == []
        for only_first in (True, False):
            with pytest.raises(RuntimeError, match="no actor named 'nobody'"):
                async with tractor.find_actor("nobody", only_first=only_first, raise_on_none=True):
                    pytest.fail("there is one")


async def test_an_actor_does_not_find_itself(autojump_clock: trio.testing.MockClock) -> None:
    async with tree() as nursery:
        assert await pid_of("root") is None
        worker = await nursery.start_actor("worker", enable_modules=[ENDPOINTS])
        assert await worker.run(pid_of, "worker") is None


async def test_waiting_for_itself_an_actor_gets_itself(autojump_clock: trio.testing.MockClock) -> None:
    async with tree(enable_modules=[ENDPOINTS]) as nursery:
        with trio.fail_after(5):
            async with tractor.wait_for_actor("root") as portal:
                assert portal.chan.aid == tractor.current_actor().aid
                assert await portal.run(whoami) == "root"
        worker = await nursery.start_actor("worker", enable_modules=[ENDPOINTS])
        assert await worker.run(wait_for, "worker") == worker.chan.aid.uuid


async def test_waiting_for_ones_own_name_another_goes_first(autojump_clock: trio.testing.MockClock) -> None:
    async with tree() as nursery:
        other = await nursery.start_actor("root")
        async with tractor.wait_for_actor("root", HERE) as portal:
            assert portal.chan.aid == other.chan.aid


async def test_of_several_of_one_name_the_newest(autojump_clock: trio.testing.MockClock) -> None:
    async with tree() as nursery:
        asker = await nursery.start_actor("asker", enable_modules=[ENDPOINTS])
        first = await nursery.start_actor("twin")
        second = await nursery.start_actor("twin")
        uuids = [first.chan.aid.uuid, second.chan.aid.uuid]
        assert [entry.uuid for entry in await registered("twin")] == uuids[::-1]
        assert await asker.run(pid_of, "twin") == uuids[1]
        assert await pid_of("twin") == uuids[1]
        async with tractor.find_actor("twin", only_first=False) as portals:
            assert [portal.chan.aid.uuid for portal in portals] == uuids[::-1]
        await second.cancel_actor()
        await second.chan.wait_closed()
        assert await asker.run(pid_of, "twin") == uuids[0]
        assert await pid_of("twin") == uuids[0]


async def test_a_connection_made_for_it_is_closed_with_the_block(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with tree(enable_modules=[ENDPOINTS]), other_root(registry_addrs=[HERE]) as other:

        async def use() -> None:
            async with tractor.find_actor("root") as portal:
                assert portal is not None
                assert await portal.run(whoami) == "root"
                assert await portal.run(whoami) == "root"

        before = len(MemNetwork.current().connections)
        for _ in range(3):
            await other.run(use)
        with pytest.raises(KeyError):
            await other.run(fail_inside)
        await settled()
        assert len(MemNetwork.current().connections) == before


async def test_the_nearest_address_wins(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    near, far, unreachable = "mem://near", "mem://far", "mem://unreachable"

    def distance(self: MemTransport, address: tractor.Address) -> int | None:
        return {unreachable: None, near: 1}.get(address.url, 2)

    monkeypatch.setattr(MemTransport, "distance", distance)
    async with tree():
        async with other_root(name="other", registry_addrs=[HERE], bind_addrs=[far, unreachable, near]):
            async with tractor.find_actor("other") as portal:
                assert portal is not None and portal.chan.raddr.url == near
            async with tractor.query_actor("other") as (address, _):
                assert address is not None and address.url == near


async def test_addresses_that_refuse_are_reported_and_the_next_is_tried(
    autojump_clock: trio.testing.MockClock,
) -> None:
    addresses = ["mem://a", "mem://b", "mem://c"]
    async with tree():
        async with other_root(name="other", registry_addrs=[HERE], bind_addrs=addresses) as other:
            with refusing("a", "b"):
                async with tractor.find_actor("other") as portal:
                    assert portal is not None and portal.chan.raddr.url == "mem://c"
                await settled()
            [entry] = await registered("other")
            assert entry.addresses == ["mem://c"]
            # With its last address it is no longer listed.
            with refusing("c"):
                async with tractor.find_actor("other") as portal:
                    assert portal is None
                await settled()
            assert await registered("other") == []
            assert other.actor.peers


async def test_what_only_the_asker_cannot_reach_stays_registered(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Somebody's own network is not everybody's loss."""
    async with tree() as nursery:
        worker = await nursery.start_actor("worker")
        [entry] = await registered("worker")
        async with other_root(registry_addrs=[HERE]) as other:
            link = other.actor.room(RegistryLink)
            await link.refused(worker.chan.aid.uuid, entry.addresses)
            await link.refused(tractor.current_actor().aid.uuid, [HERE])
            await link.refused("no such actor", ["mem://x"])
        assert await registered("worker") == [entry]
        assert len(await registered("root")) == 1


@pytest.mark.parametrize("busy", [True, False])
async def test_who_computes_stays_registered(autojump_clock: trio.testing.MockClock, busy: bool) -> None:
    """No answer at its address says nothing of an actor that answers nowhere just now."""
    async with tree() as nursery:
        worker = await nursery.start_actor("worker")
        [entry] = await registered("worker")
        network = MemNetwork.current()
        network.delay = 60  # of connections made from now on
        if busy:
            for end in network.dialled("registry"):
                end.delay = 60
        await tractor.current_actor().room(RegistryLink).refused(worker.chan.aid.uuid, entry.addresses)
        assert await registered("worker") == ([entry] if busy else [])
        network.delay = 0
        await trio.sleep(60)
        assert worker.chan.connected()


async def test_an_address_taken_over_by_somebody_else_counts_as_refusing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with tree():
        async with other_root(name="other", registry_addrs=[HERE], bind_addrs=["mem://a"]):
            with taken_away("a"):
                async with other_root(name="squatter", registry_addrs=["mem://a"]):
                    async with tractor.find_actor("other") as portal:
                        assert portal is None
                    await settled()
            assert await registered("other") == []


async def test_a_child_in_the_middle_of_its_boot_is_not_found(autojump_clock: trio.testing.MockClock) -> None:
    seen: list[str | None] = []

    async def look() -> None:
        while True:
            seen.append(await pid_of("slow"))
            await trio.sleep(0.01)

    MemNetwork.current().delay = 0.1
    async with tree() as nursery:
        async with trio.open_nursery() as looking:
            looking.start_soon(look)
            worker = await nursery.start_actor("slow", enable_modules=[ENDPOINTS])
            async with tractor.find_actor("slow") as portal:
                assert portal is not None
                assert await portal.run(whoami) == "slow"
            looking.cancel_scope.cancel()
    assert seen[0] is None
    assert set(seen) <= {None, worker.chan.aid.uuid}


# -- other registrars ------------------------------------------------------------------------------


async def test_a_registrar_elsewhere_is_asked(autojump_clock: trio.testing.MockClock) -> None:
    async with tree(), other_root(name="other", registry_addrs=[THERE], enable_modules=[ENDPOINTS]):
        async with tractor.find_actor("other") as portal:
            assert portal is None
        async with tractor.find_actor("other", registry_addrs=[THERE]) as portal:
            assert portal is not None
            assert await portal.run(whoami) == "other"
        async with tractor.find_actor("other", registry_addrs=["mem://nobody", HERE, THERE, THERE]) as portal:
            assert portal is not None
        async with tractor.find_actor("other", registry_addrs=[THERE, THERE], only_first=False) as portals:
            assert len(portals) == 1
        async with tractor.wait_for_actor("other", THERE) as portal:
            assert await portal.run(whoami) == "other"
        async with tractor.query_actor("other", THERE) as (address, registrar):
            assert address is not None and address.url == THERE
            assert registrar.chan is not None and registrar.chan.aid.name == "other"
        async with tractor.get_registry(THERE) as registrar:
            assert isinstance(registrar, tractor.Portal)
        await settled()
        assert len(tractor.current_actor().peers) == 0


async def test_an_address_that_refuses_is_reported_to_the_registrar_elsewhere(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with tree(), other_root(registry_addrs=[THERE]) as registrar:
        async with other_root(name="member", registry_addrs=[THERE], bind_addrs=["mem://a", "mem://b"]):
            with refusing("a"):
                async with tractor.find_actor("member", registry_addrs=[THERE]) as portal:
                    assert portal is not None and portal.chan.raddr.url == "mem://b"
                await settled()
            [entry] = await registrar.run(registered, "member")
            assert entry.addresses == ["mem://b"]


async def test_where_no_registrar_answers_that_is_an_error(autojump_clock: trio.testing.MockClock) -> None:
    async with tree():
        with pytest.raises(ConnectionRefusedError, match="mem://nobody"):
            async with tractor.find_actor("worker", registry_addrs=["mem://nobody"]):
                pass
        with pytest.raises(ConnectionRefusedError, match="mem://nobody"):
            async with tractor.get_registry("mem://nobody"):
                pass
        async with other_root(registry_addrs=[THERE], auth_key=KEY):
            with pytest.raises(AuthenticationFailed):
                async with tractor.find_actor("worker", registry_addrs=[THERE]):
                    pass
        async with other_root(registry_addrs=[HERE], bind_addrs=["mem://plain"]):
            with pytest.raises(TransportClosed, match="mem://plain is no registrar"):
                async with tractor.get_registry("mem://plain"):
                    pass


async def test_a_bad_registry_address_says_so(autojump_clock: trio.testing.MockClock) -> None:
    async with tree():
        with pytest.raises(ValueError, match="no scheme"):
            async with tractor.find_actor("worker", registry_addrs=["nonsense"]):
                pass


# -- get_registry, query_actor ---------------------------------------------------------------------


async def test_the_registry_inside_the_registrar_in_a_child_and_by_address(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with tree(name="first") as nursery:
        async with tractor.get_registry() as registry:
            assert isinstance(registry, LocalRegistry)
            with pytest.raises(ValueError, match="self:find"):
                await registry.run_from_ns("self", "register")
        async with tractor.get_registry(HERE) as registry:
            assert isinstance(registry, LocalRegistry)
        child = await nursery.start_actor("child", enable_modules=[ENDPOINTS])
        # Over the channel that is there anyway.
        assert await child.run(describe_registry) == ("first", HERE)
        assert len(MemNetwork.current().dialled("registry")) == 1


async def test_an_actor_is_asked_for_without_connecting(autojump_clock: trio.testing.MockClock) -> None:
    async with tree() as nursery:
        child = await nursery.start_actor("child", enable_modules=[ENDPOINTS])
        connections = len(MemNetwork.current().connections)
        url = (await registered("child"))[0].addresses[0]
        assert await query("child") == await child.run(query, "child") == url
        assert await query("nobody") is None
        assert await child.run(query, "root") == HERE
        assert len(MemNetwork.current().connections) == connections


# -- wait_for_actor --------------------------------------------------------------------------------


async def test_waiting_before_and_after(autojump_clock: trio.testing.MockClock) -> None:
    got: list[str] = []

    async def waiting(portal: tractor.Portal | None) -> None:
        got.append(await (wait_for("late") if portal is None else portal.run(wait_for, "late")))

    async with tree() as nursery:
        asker = await nursery.start_actor("asker", enable_modules=[ENDPOINTS])
        async with trio.open_nursery() as tasks:
            for portal in (None, asker, asker, None):
                tasks.start_soon(waiting, portal)
            await trio.sleep(60)
            assert got == []
            late = await nursery.start_actor("late")
        assert got == [late.chan.aid.uuid] * 4
        assert await wait_for("late") == await asker.run(wait_for, "late") == late.chan.aid.uuid


async def test_waiting_is_cancelled_and_leaves_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async with tree() as nursery:
        asker = await nursery.start_actor("asker", enable_modules=[ENDPOINTS])
        with trio.move_on_after(1) as scope:
            await asker.run(wait_for, "nobody")
        assert scope.cancelled_caught
        with trio.move_on_after(1) as scope:
            await wait_for("nobody")
        assert scope.cancelled_caught
        await settled()
        registrar = tractor.current_actor().room(RegistryLink).local
        assert registrar is not None and registrar._waiters == {}


async def test_waiting_for_one_that_is_listed_but_cannot_be_reached(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with tree():
        async with other_root(name="other", registry_addrs=[HERE], bind_addrs=["mem://a"]) as gone:
            with refusing("a"):
                await _wait_for_another(gone)


async def _wait_for_another(gone: OtherRoot) -> None:
    async with trio.open_nursery() as tasks:
        answers: list[str] = []

        async def waiting() -> None:
            answers.append(await wait_for("other"))

        tasks.start_soon(waiting)
        await trio.sleep(5)
        assert answers == []
        async with other_root(name="other", registry_addrs=[HERE]) as new:
            await trio.sleep(5)
            assert answers == [new.actor.aid.uuid] != [gone.actor.aid.uuid]
