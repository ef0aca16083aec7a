"""What an actor does about peers that say nothing, in virtual time."""

from __future__ import annotations

import logging
from typing import Any

import liveness_endpoints as endpoints
import pytest
import trio
import trio.testing

import tractor_core as tractor
from tractor_core.errors import ActorDied, TransportClosed
from tractor_core.plugin.manager import PluginManager
from tractor_core.protocol.liveness import DEFAULT_INTERVAL
from tractor_core.seams import hookimpl
from tractor_core.testing.mem import MemConnection, MemNetwork

HERE = "mem://hearts"
MODULES = [endpoints.__name__]


class Notes:
    """A plugin that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, float]] = []

    @hookimpl
    def tractor_peer_unresponsive(self, channel: Any, seconds: float) -> None:
        self.told.append(("unresponsive", channel.aid.name, round(seconds, 1)))

    @hookimpl
    def tractor_peer_recovered(self, channel: Any, seconds: float) -> None:
        self.told.append(("recovered", channel.aid.name, round(seconds, 1)))


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def plugins(notes: Notes) -> PluginManager:
    manager = PluginManager.from_environment()
    manager.register(notes)
    return manager


def tree(**options: Any) -> Any:
    return tractor.open_nursery(registry_addrs=[HERE], start_method="inproc", **options)


def ends_of_children() -> list[MemConnection]:
    """The ends on which children send."""
    return MemNetwork.current().dialled("hearts")


async def test_an_idle_channel_is_quiet_and_one_in_use_is_not_pinged(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with tree() as nursery:
        portal = await nursery.start_actor("idle", enable_modules=MODULES)
        before = portal.chan.heard
        await trio.sleep(60)
        # One ping and its answer, of whichever side came first, in each interval or two.
        assert 3 <= portal.chan.heard - before <= 2 * 60 / DEFAULT_INTERVAL
        assert await portal.run(endpoints.echo, 0) == 0
        sent: list[bytes] = []
        for end in MemNetwork.current().connections:
            end.set_fault(lambda frame: sent.append(frame) or frame)
        for number in range(60):
            assert await portal.run(endpoints.echo, number) == number
            await trio.sleep(1)
        assert len(sent) == 2 * 60
        await nursery.cancel()


async def test_silence_is_reported_once_and_so_is_its_end(
    autojump_clock: trio.testing.MockClock,
    notes: Notes,
    plugins: PluginManager,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "tractor_core.runtime")
    async with tree(plugins=plugins) as nursery:
        portal = await nursery.start_actor("slow", enable_modules=MODULES)
        for end in ends_of_children():
            end.delay = 60
        assert await portal.run(endpoints.echo, 1) == 1
        await trio.sleep(DEFAULT_INTERVAL)
        for end in ends_of_children():
            end.delay = 0
        assert [event for event, name, _ in notes.told if name == "slow"] == ["unresponsive", "recovered"]
        (_, _, silent), (_, _, lasted) = (note for note in notes.told if note[1] == "slow")
        assert 2 * DEFAULT_INTERVAL <= silent <= 3 * DEFAULT_INTERVAL
        assert 55 <= lasted <= 60
        assert portal.chan.connected()
        await nursery.cancel()
    messages = [record.getMessage() for record in caplog.records]
    first, second = (message for message in messages if message.startswith("slow@"))
    assert "has not answered for" in first and "answers again, after" in second


async def test_a_timeout_ends_calls_streams_and_the_child(autojump_clock: trio.testing.MockClock) -> None:
    begun = 0.0
    with pytest.raises(ActorDied, match=r"nothing heard for 3 s \(heartbeat_timeout\)"):
        async with tree(heartbeat_timeout=3) as nursery:
            portal = await nursery.start_actor("mute", enable_modules=MODULES)
            for end in ends_of_children():
                end.set_fault(lambda frame: None)
            begun = trio.current_time()
            with pytest.raises(TransportClosed, match=r"nothing heard for 3 s \(heartbeat_timeout\)"):
                await portal.run(endpoints.echo, 1)
            assert 3 <= trio.current_time() - begun <= 4
            assert not portal.chan.connected() and not portal.chan.dialogs
            await trio.sleep_forever()
    # The ladder ends what is only taken for dead; it hears nothing, so by force.
    assert trio.current_time() - begun < 6


async def test_children_inherit_it(autojump_clock: trio.testing.MockClock) -> None:
    async with tree(heartbeat_interval=2, heartbeat_timeout=7) as nursery:
        child = await nursery.start_actor("child", enable_modules=MODULES)
        assert await child.run(endpoints.heartbeat) == [2, 7]
        await nursery.cancel()


async def test_one_portal_may_be_watched_more_closely(autojump_clock: trio.testing.MockClock) -> None:
    """From inside of an actor, and by a light client; beside a channel that is not."""
    async with trio.open_nursery() as tasks:
        started = trio.Event()
        tasks.start_soon(serve, started)
        await started.wait()
        for actor in (True, False):
            await lose_within(3, inside=actor)
        tasks.cancel_scope.cancel()


async def serve(started: trio.Event) -> None:
    async with tractor.open_root_actor(name="far", registry_addrs=["mem://far"], enable_modules=MODULES):
        started.set()
        await trio.sleep_forever()


async def lose_within(seconds: float, *, inside: bool) -> None:
    if inside:
        async with tractor.open_root_actor(registry_addrs=[HERE]):
            async with tractor.open_portal("mem://far") as plain:
                await lose(seconds)
                assert plain.chan.connected()
    else:
        await lose(seconds)


async def lose(seconds: float) -> None:
    known = set(MemNetwork.current().connections)
    async with tractor.open_portal("mem://far", heartbeat_timeout=seconds) as portal:
        await trio.sleep(10 * seconds)
        assert await portal.run(endpoints.echo, 1) == 1
        for end in set(MemNetwork.current().connections) - known:
            end.set_fault(lambda frame: None)
        begun = trio.current_time()
        with pytest.raises(TransportClosed, match="heartbeat_timeout"):
            await portal.run(endpoints.echo, 1)
        assert seconds <= trio.current_time() - begun <= seconds * 4 / 3


@pytest.mark.parametrize(
    "options", [{"heartbeat_timeout": 0}, {"heartbeat_interval": 9, "heartbeat_timeout": 3}]
)
async def test_what_makes_no_sense_is_refused_at_once(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="heartbeat_"):
        async with tractor.open_root_actor(registry_addrs=[HERE], **options):
            pytest.fail("it runs")
    with pytest.raises(ValueError, match="heartbeat_"):
        async with tractor.open_portal(HERE, **options):
            pytest.fail("it dials")


async def test_who_reads_raw_answers_as_well(autojump_clock: trio.testing.MockClock, notes: Notes) -> None:
    plugins = PluginManager.from_environment()
    plugins.register(notes)
    async with tractor.open_root_actor(registry_addrs=[HERE], plugins=plugins):
        async with await tractor.Channel.from_addr(HERE) as channel:
            with trio.move_on_after(60):
                await channel.recv()
                pytest.fail("nobody said anything")
    assert notes.told == []
