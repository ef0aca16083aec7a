"""Every transport keeps every promise of the seam."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from tools import needs_ipv6
from trio.testing import MockClock

import tractor_tcp
import tractor_uds
from tractor_core.seams import Address, Connection, Transport, TransportOptions
from tractor_core.testing import check_listener, connected_pair, mem
from tractor_core.testing.check_listener import LISTENER_CHECKS
from tractor_core.testing.check_transport import PAIR_CHECKS, check_sizes, check_transport

TRANSPORTS: list[tuple[str, Transport, Address | None]] = [
    ("tcp", tractor_tcp.transport, None),
    ("tcp6", tractor_tcp.transport, Address("tcp", "::1", 0)),
    ("uds", tractor_uds.transport, None),
    ("abstract", tractor_uds.transport, Address("uds", path=f"@tractor-core-conformance-{os.getpid()}")),
]
SOCKETS = [
    pytest.param(transport, address, id=name, marks=needs_ipv6 if name == "tcp6" else ())
    for name, transport, address in TRANSPORTS
]


@pytest.mark.parametrize("check", PAIR_CHECKS)
@pytest.mark.parametrize(("transport", "address"), SOCKETS)
async def test_sockets(
    transport: Transport, address: Address | None, check: Callable[[Connection, Connection], Awaitable[None]]
) -> None:
    async with connected_pair(transport, address)(TransportOptions()) as (a, b):
        a.max_frame = b.max_frame = 1024 * 1024
        await check(a, b)


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize(("transport", "address"), SOCKETS)
async def test_sizes_up_to_the_limit(transport: Transport, address: Address | None, swap: bool) -> None:
    async with connected_pair(transport, address)(TransportOptions()) as pair:
        a, b = reversed(pair) if swap else pair
        await check_sizes(a, b, 16 * 1024 * 1024)


@pytest.mark.parametrize("check", LISTENER_CHECKS)
@pytest.mark.parametrize(("transport", "address"), SOCKETS)
async def test_listening(transport: Transport, address: Address | None, check: Any) -> None:
    await check(transport, address or transport.default_bind())


async def test_mem(autojump_clock: MockClock) -> None:
    await check_transport(connected_pair(mem.transport))
    await check_listener(mem.transport)


async def test_the_kit_finds_a_transport_that_breaks_its_promise(autojump_clock: MockClock) -> None:
    class Reordering(mem.MemConnection):
        def send_nowait(self, frames: Any) -> int:
            return super().send_nowait(list(reversed(frames)))

    class BadTransport(mem.MemTransport):
        async def connect(self, address: Address, options: TransportOptions) -> mem.MemConnection:
            connection = await super().connect(address, options)
            connection.__class__ = Reordering
            return connection

    with pytest.raises(AssertionError, match="order and boundaries"):
        await check_transport(connected_pair(BadTransport()))


async def test_the_kit_finds_a_transport_that_hangs(autojump_clock: MockClock) -> None:
    class Losing(mem.MemTransport):
        async def connect(self, address: Address, options: TransportOptions) -> mem.MemConnection:
            connection = await super().connect(address, options)
            connection.set_fault(lambda frame: None)
            return connection

    with pytest.raises(trio.TooSlowError):
        await check_transport(connected_pair(Losing()))
