"""The time limit of a handshake in an actor that computes in pieces: what the peer has said counts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from wire_fakes import FakeConnection

from tractor_core.errors import TransportClosed
from tractor_core.ipc.handshake import accept_handshake, dial_handshake
from tractor_core.ipc.limits import Limits
from tractor_core.ipc.turns import TURNS
from tractor_core.msg.types import Aid
from tractor_core.protocol.auth import OneTimeSecrets
from tractor_core.protocol.handshake import Identity

KEY = b"k" * 32
NEAR = Identity(Aid("near", "n" * 32), KEY)
FAR = Identity(Aid("far", "f" * 32), KEY)
LIMITS = Limits(handshake_timeout=5)


@asynccontextmanager
async def computing(clock: trio.testing.MockClock, piece: float) -> AsyncIterator[list[float]]:
    """In each turn of this loop some task computes for ``piece`` seconds; when it did."""
    turns: list[float] = []

    async def compute() -> None:
        while True:
            clock.jump(piece)
            turns.append(trio.current_time())
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(compute)
        yield turns
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("piece", [0.4, 2.5, 60])
async def test_a_peer_gets_in_however_long_the_pieces(
    autojump_clock: trio.testing.MockClock, piece: float
) -> None:
    near, far = FakeConnection.pair()
    async with computing(autojump_clock, piece), trio.open_nursery() as nursery:
        nursery.start_soon(dial_handshake, near, NEAR, LIMITS)
        peer, _ = await accept_handshake(far, FAR, LIMITS, OneTimeSecrets())
    assert peer.aid == NEAR.aid
    assert not near.closed and not far.closed


@pytest.mark.parametrize("piece", [2.5, 60])
async def test_a_silent_peer_is_closed_all_the_same(
    autojump_clock: trio.testing.MockClock, piece: float
) -> None:
    _, far = FakeConnection.pair()
    async with computing(autojump_clock, piece) as turns:
        with pytest.raises(TransportClosed, match="no handshake within 5 s"):
            await accept_handshake(far, FAR, LIMITS, OneTimeSecrets())
        assert TURNS <= len(turns) <= 2 * TURNS
    assert far.closed


async def test_what_ends_the_connection_in_those_turns_is_what_is_raised(
    autojump_clock: trio.testing.MockClock,
) -> None:
    near, far = FakeConnection.pair()

    async def hang_up() -> None:
        for _ in range(TURNS // 2):
            await trio.lowlevel.checkpoint()
        near.abort()

    async with computing(autojump_clock, 60), trio.open_nursery() as nursery:
        nursery.start_soon(hang_up)
        with pytest.raises(TransportClosed, match="the peer closed the connection during the handshake"):
            await accept_handshake(far, FAR, LIMITS, OneTimeSecrets())


async def test_who_is_cancelled_in_those_turns_is(autojump_clock: trio.testing.MockClock) -> None:
    _, far = FakeConnection.pair()
    async with computing(autojump_clock, 60) as turns:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(accept_handshake, far, FAR, LIMITS, OneTimeSecrets())
                while len(turns) < TURNS // 2:
                    await trio.lowlevel.checkpoint()
                scope.cancel()
    assert scope.cancelled_caught and far.closed
