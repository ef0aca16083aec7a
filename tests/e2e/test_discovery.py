"""Programs that find each other, over real transports."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import meeting_endpoints as endpoints
import pytest
import trio
from daemons import Daemon, answering, daemon

import tractor_core as tractor
from tractor_core.errors import TractorError

ENDPOINTS = "meeting_endpoints"


async def test_two_programs_meet_and_their_trees_call_each_other(registry: str) -> None:
    async with daemon(registry) as other:
        async with tractor.open_nursery(
            name="mine", registry_addrs=[registry], enable_modules=[ENDPOINTS]
        ) as nursery:
            assert not tractor.current_actor().is_registrar
            child = await nursery.start_actor("child", enable_modules=[ENDPOINTS])
            child_pid = await child.run(endpoints.pid)
            async with tractor.find_actor("daemon", raise_on_none=True) as portal:
                assert portal is not None
                assert await portal.run(endpoints.pid) == other.pid
                assert await portal.run(endpoints.find, "child") == child_pid
                assert await portal.run(endpoints.find, "mine") == os.getpid()
            assert await child.run(endpoints.find, "daemon") == other.pid
            await nursery.cancel()
        async with tractor.open_portal(registry) as portal:
            assert await portal.run(endpoints.find, "child") is None
            assert await portal.run(endpoints.find, "mine") is None


async def test_an_actor_that_was_killed_is_not_found_any_more(registry: str) -> None:
    async with tractor.open_root_actor(registry_addrs=[registry]):
        with pytest.raises(tractor.ActorDied) as caught:
            async with tractor.open_nursery() as nursery:
                sibling = await nursery.start_actor("sibling", enable_modules=[ENDPOINTS])
                victim = await nursery.start_actor("victim", enable_modules=[ENDPOINTS])
                pid = await victim.run(endpoints.pid)
                assert await sibling.run(endpoints.find, "victim") == pid
                os.kill(pid, signal.SIGKILL)
                with trio.CancelScope(shield=True):
                    await victim.chan.wait_closed()
                    async with tractor.find_actor("victim") as portal:
                        assert portal is None
                    async with tractor.get_registry() as registrar:
                        assert await registrar.run_from_ns("self", "find", name="victim") == []
        assert caught.value.uid == victim.chan.aid.uid


@pytest.mark.limit(60)
async def test_a_registrar_that_is_killed_and_comes_back(registry: str) -> None:
    """Meanwhile who was connected goes on; afterwards all are registered again, and who waited is served."""
    async with daemon(registry) as first:
        async with tractor.open_nursery(name="mine", registry_addrs=[registry]) as nursery:
            one = await nursery.start_actor("one", enable_modules=[ENDPOINTS])
            two = await nursery.start_actor("two", enable_modules=[ENDPOINTS])
            pids = [await one.run(endpoints.pid), await two.run(endpoints.pid)]
            async with trio.open_nursery() as tasks:
                waited: list[int] = []

                async def wait() -> None:
                    waited.append(await one.run(endpoints.wait_for, "late"))

                tasks.start_soon(wait)
                await first.kill()
                assert [await one.run(endpoints.pid), await two.run(endpoints.pid)] == pids
                async with tractor.find_actor("one") as portal:
                    assert portal is not None
                async with daemon(registry) as second:
                    async with tractor.open_portal(registry) as portal:
                        for name, pid in zip(("one", "two"), pids, strict=True):
                            assert await portal.run(endpoints.wait_for, name) == pid
                    assert await two.run(endpoints.find, "daemon") == second.pid
                    assert waited == []
                    async with daemon_elsewhere(registry, "late") as late:
                        while not waited:
                            await trio.sleep(0.01)
                        assert waited == [late.pid]
            await nursery.cancel()


@asynccontextmanager
async def daemon_elsewhere(registry: str, name: str) -> AsyncIterator[Daemon]:
    """A daemon that joins the registry there is."""
    program = Daemon({}, {"registry_addrs": [registry], "name": name})
    try:
        yield program
    finally:
        await program.close()


async def test_two_programs_that_start_at_once_share_one_registry(registry: str) -> None:
    programs = [Daemon({}, {"registry_addrs": [registry], "name": f"daemon-{n}"}) for n in range(3)]
    try:
        await answering(registry, None, programs[0])
        async with tractor.open_root_actor(registry_addrs=[registry]):
            pids = set()
            registrars = 0
            for number in range(3):
                async with tractor.wait_for_actor(f"daemon-{number}") as portal:
                    pids.add(await portal.run(endpoints.pid))
                    registrars += await portal.run(endpoints.is_registrar)
            assert pids == {program.pid for program in programs}
            assert registrars == 1
        assert [program.errors() for program in programs] == [[], [], []]
    finally:
        for program in programs:
            await program.close()


async def test_programs_meet_with_nothing_said_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the well-known address of the transport, here of unix sockets in this test's own directory."""
    monkeypatch.setenv("TRACTOR_TRANSPORTS", "uds")
    monkeypatch.setenv("XDG_RUNTIME_DIR", os.path.join(os.environ["XDG_RUNTIME_DIR"], "meet"))
    os.mkdir(os.environ["XDG_RUNTIME_DIR"], 0o700)
    program = Daemon({}, {"name": "daemon"})
    try:
        directory = f"{os.environ['XDG_RUNTIME_DIR']}/tractor-core-{os.geteuid()}"
        await answering(f"uds://{directory}/registry.sock", None, program)
        async with tractor.open_root_actor() as root:
            assert not root.is_registrar
            async with tractor.find_actor("daemon", raise_on_none=True) as portal:
                assert portal is not None
                assert await portal.run(endpoints.pid) == program.pid
    finally:
        await program.close()


async def test_light_clients_come_and_go(registry: str) -> None:
    async with daemon(registry) as program:

        async def one(number: int) -> None:
            async with tractor.open_portal(registry, name=f"light-{number}") as portal:
                assert await portal.run(endpoints.pid) == program.pid
                async with portal.open_context(endpoints.double) as (ctx, first):
                    assert first == "ready"
                    async with ctx.open_stream() as stream:
                        await stream.send(number)
                        assert await stream.receive() == 2 * number

        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(one, number)
        async with tractor.open_portal(registry) as portal:
            with trio.fail_after(10):
                # Those that have left it hears of in its own time.
                while (status := await portal.run_from_ns("self", "status"))["channels"] > 1:
                    await trio.sleep(0.01)
            assert (status["channels"], status["dialogs"]) == (1, 1)
        program.process.terminate()
        assert await program.ended() == -signal.SIGTERM
        with pytest.raises((OSError, TractorError)):
            async with tractor.open_portal(registry):
                pytest.fail("somebody is there")
