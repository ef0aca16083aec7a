"""Children that dial their parent again: it took longer to answer than they wait, or the path broke."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from nursery_trees import ENDPOINTS, name, nursery

import tractor_core as tractor
from tractor_core.errors import AuthenticationFailed, TractorError
from tractor_core.ipc.handshake import dial_handshake
from tractor_core.msg.types import Aid, SpawnSpec
from tractor_core.protocol.handshake import Identity
from tractor_core.seams import Connection, TransportOptions
from tractor_core.supervision import supervisor
from tractor_core.testing.mem import MemNetwork

pytestmark = pytest.mark.usefixtures("autojump_clock")

#: Where the root of :func:`nursery` listens.
HERE = "mem://nursery"


def channels_to_children() -> list[tractor.Channel]:
    return [channel for peers in tractor.current_actor().peers.values() for channel in peers]


# -- a parent that answers late --------------------------------------------------------------------


@pytest.mark.parametrize("delay", [0.5, 1.0, 1.5, 1.6])
async def test_a_child_starts_although_its_first_proof_was_taken_too_late_for_it(delay: float) -> None:
    """From 1.25 s on four frames take longer than it waits, and the parent has taken its proof by then."""
    async with nursery() as an:
        MemNetwork.current().delay = delay
        portal = await an.start_actor("child", enable_modules=[ENDPOINTS])
        assert channels_to_children() == [portal.chan]
        assert await portal.run(name) == "child"
        assert tractor.current_actor().secrets.get(portal.chan.aid.uuid) is None
        await an.cancel()


async def test_the_end_of_the_channel_that_it_gave_up_is_not_told_of_the_one_that_it_has() -> None:
    """Its owner closing the second is what ends it: nothing was broken."""
    async with nursery() as an:
        MemNetwork.current().delay = 1.5
        portal = await an.start_actor("child")
        MemNetwork.current().delay = 0
        await portal.chan.aclose()
        with trio.fail_after(10):
            while an._children:
                await trio.sleep(0.1)


# -- a path that breaks ----------------------------------------------------------------------------


async def test_a_channel_that_ends_before_the_child_knows_what_to_be_ends_it_in_one_line(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(channel: tractor.Channel, message: SpawnSpec) -> None:
        """Instead of telling it."""
        assert channels_to_children() == [channel]
        MemNetwork.current().dialled("nursery")[-1].cut()

    async with nursery() as an:
        with (
            monkeypatch.context() as patched,
            trio.fail_after(5),
            pytest.raises(tractor.ActorDied, match="'child' ended unasked: exit code 1"),
        ):
            patched.setattr(supervisor, "_post", cut)
            await an.start_actor("child")
        assert not an._children and not channels_to_children()
        assert len([line for line in caplog.messages if "cannot join its parent" in line]) == 1
        # The next one is not concerned.
        portal = await an.start_actor("child", enable_modules=[ENDPOINTS])
        assert await portal.run(name) == "child"
        await an.cancel()


# -- what the secret is good for -------------------------------------------------------------------


async def prove(uuid: str, secret: bytes) -> Connection:
    """Connect as the child ``uuid`` would."""
    actor = tractor.current_actor()
    transport = actor.plugins.transport("mem")
    connection = await transport.connect(transport.parse(HERE), TransportOptions())
    child = Identity(Aid("child", uuid), b"x" * 32)
    await dial_handshake(connection, child, actor.limits, method="spawn", secret=secret)
    return connection


async def closed(connection: Connection, within: float = 0.3) -> bool:
    """Whether the other end hangs up."""
    with trio.move_on_after(within):
        return not await connection.receive()
    return False


async def test_two_channels_by_one_secret_never_live() -> None:
    async with nursery():
        secrets = tractor.current_actor().secrets
        expected = secrets.expect("child-uuid")
        first = await prove("child-uuid", expected.secret)
        arrived = await expected.channel()
        assert not await closed(first)
        second = await prove("child-uuid", expected.secret)
        assert await expected.channel() is not arrived
        assert await closed(first)
        assert not await closed(second)
        assert len(channels_to_children()) == 1
        first.abort()
        second.abort()
        secrets.forget("child-uuid")


async def test_the_proof_that_was_given_up_may_be_looked_at_after_that_which_was_not() -> None:
    async with nursery():
        secrets = tractor.current_actor().secrets
        expected = secrets.expect("child-uuid")
        network = MemNetwork.current()
        network.delay = 1.0
        early: list[Connection] = []

        async def first() -> None:
            early.append(await prove("child-uuid", expected.secret))

        async with trio.open_nursery() as tasks:
            tasks.start_soon(first)
            await trio.sleep(0.5)
            network.delay = 0.1
            late = await prove("child-uuid", expected.secret)
            arrived = await expected.channel()
        assert await closed(early[0], within=5)
        assert not await closed(late)
        assert channels_to_children() == [arrived]
        late.abort()
        early[0].abort()
        secrets.forget("child-uuid")


async def test_of_several_at_once_one_remains() -> None:
    async with nursery():
        secrets = tractor.current_actor().secrets
        expected = secrets.expect("child-uuid")
        held: list[Connection] = []

        async def race() -> None:
            held.append(await prove("child-uuid", expected.secret))

        async with trio.open_nursery() as tasks:
            for _ in range(5):
                tasks.start_soon(race)
        assert [await closed(each) for each in held].count(False) == 1
        assert len(channels_to_children()) == 1
        for each in held:
            each.abort()
        secrets.forget("child-uuid")


async def test_a_secret_is_worth_nothing_once_its_child_is_there_or_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with nursery() as an:
        secrets = tractor.current_actor().secrets
        forgotten = secrets.expect("child-uuid")
        secrets.forget("child-uuid")
        with pytest.raises(AuthenticationFailed, match="does not hold"):
            await prove("child-uuid", forgotten.secret)
        issued: dict[str, bytes] = {}
        issue = secrets.issue

        def noted(uuid: str) -> bytes:
            issued[uuid] = issue(uuid)
            return issued[uuid]

        monkeypatch.setattr(secrets, "issue", noted)
        portal = await an.start_actor("child", enable_modules=[ENDPOINTS])
        [(uuid, secret)] = issued.items()
        with pytest.raises(AuthenticationFailed, match="does not hold"):
            await prove(uuid, secret)
        assert await portal.run(name) == "child"
        await an.cancel()


async def test_one_that_is_forgotten_between_its_proof_and_its_channel_is_closed() -> None:
    """The parent has checked the proof, and its answer is under way, when the start ends."""
    async with nursery():
        actor = tractor.current_actor()
        expected = actor.secrets.expect("child-uuid")
        checked = actor.secrets.get

        def get(uuid: str) -> bytes | None:
            secret = checked(uuid)
            actor.secrets.forget(uuid)
            return secret

        actor.secrets.get = get  # type: ignore[method-assign]
        try:
            connection = await prove("child-uuid", expected.secret)
        except TractorError:
            pass
        else:
            assert await closed(connection)
            connection.abort()
        assert not channels_to_children()
