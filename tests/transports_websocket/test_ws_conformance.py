"""WebSockets keep every promise of the seam, whichever end dialled."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import tractor_websocket
from tractor_core.seams import Address, Connection, TransportOptions
from tractor_core.testing import check_listener, connected_pair
from tractor_core.testing.check_listener import LISTENER_CHECKS
from tractor_core.testing.check_transport import PAIR_CHECKS, check_sizes, check_transport

ADDRESSES: list[Any] = [
    pytest.param(None, id="ws"),
    pytest.param(Address("ws", "::1", 0), id="ws6"),
    pytest.param(Address("ws", "localhost", 0, "/actors"), id="name-and-path"),
]


@pytest.mark.parametrize("swap", [False, True], ids=["dialler", "listener"])
@pytest.mark.parametrize("check", PAIR_CHECKS)
@pytest.mark.parametrize("address", ADDRESSES[:2])
async def test_pair(
    address: Address | None, check: Callable[[Connection, Connection], Awaitable[None]], swap: bool
) -> None:
    async with connected_pair(tractor_websocket.transport, address)(TransportOptions()) as pair:
        a, b = reversed(pair) if swap else pair
        a.max_frame = b.max_frame = 1024 * 1024
        await check(a, b)


@pytest.mark.parametrize("swap", [False, True], ids=["dialler", "listener"])
async def test_sizes_up_to_the_limit(swap: bool) -> None:
    async with connected_pair(tractor_websocket.transport)(TransportOptions()) as pair:
        a, b = reversed(pair) if swap else pair
        await check_sizes(a, b, 16 * 1024 * 1024)


@pytest.mark.parametrize("check", LISTENER_CHECKS)
@pytest.mark.parametrize("address", ADDRESSES)
async def test_listening(address: Address | None, check: Any) -> None:
    transport = tractor_websocket.transport
    await check(transport, address or transport.default_bind())


async def test_the_kit_as_others_call_it() -> None:
    await check_transport(connected_pair(tractor_websocket.transport))
    await check_listener(tractor_websocket.transport)
