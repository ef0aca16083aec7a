"""The listening endpoint: good peers are served, whatever the others do."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from msgspec.structs import replace
from wire_fakes import FakeConnection, FakeListener

from tractor_core.errors import AuthenticationFailed
from tractor_core.ipc.endpoint import Endpoint, RefusalLog
from tractor_core.ipc.handshake import dial_handshake
from tractor_core.ipc.limits import Limits
from tractor_core.msg.types import Aid
from tractor_core.protocol.auth import OneTimeSecrets
from tractor_core.protocol.handshake import Identity, Peer
from tractor_core.seams import Address, Buffer, Connection

KEY = b"k" * 32
HERE = Identity(Aid("here", "h" * 32), KEY)
CALLER = Identity(Aid("caller", "c" * 32), KEY)
LIMITS = Limits()

Handler = Callable[[Connection, Peer, list[Buffer]], Awaitable[None]]


async def until_closed(connection: Connection, peer: Peer, frames: list[Buffer]) -> None:
    while await connection.receive():
        pass


@asynccontextmanager
async def serving(on_peer: Handler = until_closed) -> AsyncIterator[FakeListener]:
    listener = FakeListener()
    endpoint = Endpoint(listener, HERE, LIMITS, OneTimeSecrets())
    assert endpoint.address == listener.address
    async with trio.open_nursery() as nursery:
        await nursery.start(endpoint.serve, on_peer)
        yield listener
        nursery.cancel_scope.cancel()
    await endpoint.aclose()
    assert listener.closed


async def works(listener: FakeListener) -> bool:
    peer, _ = await dial_handshake(listener.connect(name="good"), CALLER, LIMITS)
    return peer.aid == HERE.aid


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_peer_is_handed_over_with_what_it_sent_and_closed_at_the_end() -> None:
    seen: list[Any] = []

    async def on_peer(connection: Connection, peer: Peer, frames: list[Buffer]) -> None:
        seen.append((peer.aid, connection.established, frames))

    async with serving(on_peer) as listener:
        near = listener.connect()
        await dial_handshake(near, CALLER, LIMITS)
        assert await near.receive() == []
    assert seen == [(CALLER.aid, True, [])]


async def test_peers_are_served_at_the_same_time() -> None:
    async with serving() as listener:
        for _ in range(3):
            assert await works(listener)


async def test_cancelling_ends_the_handlers_and_closes_their_connections() -> None:
    async with serving() as listener:
        near = listener.connect()
        await dial_handshake(near, CALLER, LIMITS)
        assert not near.ended
    assert near.ended


async def test_a_handler_that_fails_ends_its_own_connection_only(caplog: pytest.LogCaptureFixture) -> None:
    async def fails(connection: Connection, peer: Peer, frames: list[Buffer]) -> None:
        raise ExceptionGroup("several", [ValueError("broken handler")])

    async with serving(fails) as listener:
        near = listener.connect()
        await dial_handshake(near, CALLER, LIMITS)
        assert await near.receive() == []
        assert await works(listener)
    assert "channel of caller@cccccccc at fake://near failed" in lines(caplog)[0]
    assert "broken handler" in caplog.text


async def garbage(near: FakeConnection) -> None:
    near.send_nowait([b"GET / HTTP/1.1"])


async def hang_up(near: FakeConnection) -> None:
    near.abort()


async def too_long(near: FakeConnection) -> None:
    near.send_nowait([b"x" * 70_000])


async def wrong_key(near: FakeConnection) -> None:
    with pytest.raises(AuthenticationFailed):
        await dial_handshake(near, replace(CALLER, key=b"o" * 32), LIMITS)


async def silence(near: FakeConnection) -> None:
    await trio.sleep(LIMITS.handshake_timeout)


async def nonsense_from_the_transport(near: FakeConnection) -> None:
    near.other.broken = RuntimeError("transport bug")
    near.other.receive = None  # type: ignore[method-assign,assignment]


@pytest.mark.parametrize(
    "misbehave", [garbage, hang_up, too_long, wrong_key, silence, nonsense_from_the_transport]
)
async def test_a_bad_peer_costs_one_line_with_its_address_and_its_connection(
    misbehave: Callable[[FakeConnection], Awaitable[None]],
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving() as listener:
        near = listener.connect(name="203.0.113.9")
        await misbehave(near)
        await trio.sleep(1)
        assert near.ended
        assert await works(listener)
    assert len(lines(caplog)) == 1
    assert "fake://203.0.113.9" in lines(caplog)[0] and "\n" not in lines(caplog)[0]


async def test_a_slot_taken_back_by_the_listener_is_no_error_here(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as listener:
        near = listener.connect()
        await trio.testing.wait_all_tasks_blocked()
        near.other.abort()
        await trio.testing.wait_all_tasks_blocked()
        assert await works(listener)
    assert lines(caplog) == []


async def test_a_flood_from_one_address_is_counted(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving() as listener:
        for _ in range(500):
            listener.connect(name="203.0.113.9").abort()
        listener.connect(name="203.0.113.10").abort()
        await trio.sleep(3)
        listener.connect(name="203.0.113.9").abort()
        await trio.sleep(3)
        assert await works(listener)
    assert len(lines(caplog)) == 4
    assert lines(caplog)[0].startswith("refused peer fake://203.0.113.9:")
    assert lines(caplog)[1].startswith("refused peer fake://203.0.113.10:")
    assert lines(caplog)[2] == "refused 499 more from fake://203.0.113.9 within 1 s"
    assert lines(caplog)[3].startswith("refused peer fake://203.0.113.9:")


async def test_what_was_only_counted_is_logged_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as listener:
        for _ in range(3):
            listener.connect().abort()
        await trio.testing.wait_all_tasks_blocked()
    assert lines(caplog)[-1] == "refused 2 more from fake://near within 1 s"


async def test_the_table_of_sources_is_bounded(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    refusals = RefusalLog()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(refusals.run)
        for number in range(3000):
            refusals.note(Address("fake", f"host-{number}"), "no")
        await trio.sleep(2)
        assert len(lines(caplog)) <= 1024 + 2
        assert "more from other addresses" in lines(caplog)[-1]
        refusals.note(Address("fake", path="/no/host"), "no")
        refusals.note(Address("fake", path="/no/host"), "no")
        await trio.sleep(2)
        nursery.cancel_scope.cancel()
    assert lines(caplog)[-1] == "refused 1 more from fake peers within 1 s"


async def test_a_listener_that_fails_is_reported_bare() -> None:
    class Broken(FakeListener):
        async def serve(self, handler: Any, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> Any:
            task_status.started()
            raise OSError("the socket is gone")

    with pytest.raises(OSError, match="the socket is gone"):
        await Endpoint(Broken(), HERE, LIMITS, OneTimeSecrets()).serve(until_closed)
