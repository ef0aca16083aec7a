"""``Actor.serve_connection``: what a program accepted itself is served like what a listener accepted."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import trio
import ws_endpoints
from other_roots import OtherRoot, other_root
from trio.testing import MockClock

import tractor_core as tractor
from tractor_core.errors import AuthenticationFailed, NoRuntime, TransportClosed
from tractor_core.seams import Connection, ConnectionHandler, TransportOptions, parse_address
from tractor_core.testing.mem import transport

DOOR = "mem://door"


@asynccontextmanager
async def accepting(handler: ConnectionHandler) -> AsyncIterator[None]:
    """A listener in the hands of a program, at :data:`DOOR`."""
    listener = await transport.listen(parse_address(DOOR), TransportOptions(max_connections=1000))
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve, handler)
        yield
        nursery.cancel_scope.cancel()
    await listener.aclose()


def root(**options: Any) -> AbstractAsyncContextManager[OtherRoot]:
    return other_root(registry_addrs=["mem://own"], enable_modules=["ws_endpoints"], **options)


async def test_it_is_served_until_the_peer_leaves(autojump_clock: MockClock) -> None:
    served: list[Connection] = []
    async with root() as other:

        async def handler(connection: Connection) -> None:
            await other.actor.serve_connection(connection)
            served.append(connection)

        assert other.actor.serving
        async with accepting(handler):
            for number in range(1, 3):
                async with tractor.open_portal(DOOR) as portal:
                    assert await portal.run(ws_endpoints.add, 1, 2) == 3
                    # Endpoints run in the actor, not in what happened to accept the peer.
                    assert await portal.run(ws_endpoints.ask_below, depth=0)
                    assert other.actor.peers
                await trio.sleep(1)
                assert len(served) == number and not other.actor.peers
    assert not other.actor.serving


async def test_cancelling_it_cuts_the_peer_off_and_leaves_the_actor(autojump_clock: MockClock) -> None:
    scope = trio.CancelScope()
    async with root() as other:

        async def handler(connection: Connection) -> None:
            with scope:
                await other.actor.serve_connection(connection)

        async with accepting(handler):
            with pytest.raises(TransportClosed):
                async with tractor.open_portal(DOOR) as portal, trio.open_nursery() as nursery:
                    nursery.start_soon(portal.run, ws_endpoints.forever)
                    await trio.sleep(1)
                    scope.cancel()
                    await trio.sleep(10)
            await trio.sleep(1)
            assert not other.actor.peers and other.actor.serving
        async with tractor.open_portal("mem://own") as portal:
            assert await portal.run(ws_endpoints.add, 1, 2) == 3


async def test_it_does_not_outlive_the_actor(autojump_clock: MockClock) -> None:
    refused: list[NoRuntime] = []
    async with root() as other:

        async def handler(connection: Connection) -> None:
            try:
                await other.actor.serve_connection(connection)
            except NoRuntime as error:
                refused.append(error)
                # It was closed, so that nobody has to remember to.
                with pytest.raises(trio.ClosedResourceError):
                    await connection.receive()

        async with accepting(handler):
            with pytest.raises((TransportClosed, tractor.ContextCancelled)):
                async with tractor.open_portal(DOOR) as portal, trio.open_nursery() as nursery:
                    nursery.start_soon(portal.run, ws_endpoints.forever)
                    await trio.sleep(1)
                    began = trio.current_time()
                    await other.close()
            assert trio.current_time() - began < 2
            assert not refused
            with pytest.raises(TransportClosed):
                async with tractor.open_portal(DOOR):
                    pytest.fail("it is in")
            assert len(refused) == 1 and "ending" in str(refused[0])


async def test_peers_have_to_prove_themselves_in_time(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with root(limits=tractor.Limits(handshake_timeout=2)) as other:
        async with accepting(other.actor.serve_connection):
            silent = await transport.connect(parse_address(DOOR), TransportOptions())
            began = trio.current_time()
            assert not await silent.receive()
            assert trio.current_time() - began == pytest.approx(2)
            silent.abort()
            await trio.sleep(2)
            for _ in range(3):
                with pytest.raises(AuthenticationFailed):
                    async with tractor.open_portal(DOOR, auth_key="a key of some other tree"):
                        pytest.fail("it is in")
            await trio.sleep(2)
    lines = [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]
    assert "no handshake within 2 s" in lines[0]
    assert "does not hold the key" in lines[1]
    assert "refused 2 more" in lines[2] and len(lines) == 3


async def test_silent_peers_make_room_for_others(autojump_clock: MockClock) -> None:
    limits = tractor.Limits(max_connections=4, handshake_timeout=1000)
    async with root(limits=limits) as other:
        async with accepting(other.actor.serve_connection):
            silent = [await transport.connect(parse_address(DOOR), TransportOptions()) for _ in range(8)]
            dropped: list[Connection] = []

            async def wait_for_end(connection: Connection) -> None:
                assert not await connection.receive()
                dropped.append(connection)

            async with trio.open_nursery() as nursery, tractor.open_portal(DOOR) as portal:
                for connection in silent:
                    nursery.start_soon(wait_for_end, connection)
                assert await portal.run(ws_endpoints.add, 1, 2) == 3
                await trio.sleep(1)
                assert len(dropped) == 5
                nursery.cancel_scope.cancel()
            for connection in silent:
                connection.abort()


async def test_an_actor_that_does_not_run_takes_nothing(autojump_clock: MockClock) -> None:
    async with root() as other:
        pass
    errors: list[str] = []

    async def handler(connection: Connection) -> None:
        with pytest.raises(NoRuntime) as caught:
            await other.actor.serve_connection(connection)
        errors.append(str(caught.value))

    async with accepting(handler):
        connection = await transport.connect(parse_address(DOOR), TransportOptions())
        assert not await connection.receive()
        connection.abort()
    assert len(errors) == 1
