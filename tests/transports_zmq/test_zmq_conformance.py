"""ZeroMQ keeps every promise of the seam, whichever end dialled."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tools import needs_ipv6

import tractor_zmq
from tractor_core.seams import Address, Connection, Transport, TransportOptions
from tractor_core.testing import connected_pair
from tractor_core.testing.check_listener import LISTENER_CHECKS
from tractor_core.testing.check_transport import PAIR_CHECKS, check_sizes, check_transport

CASES: list[Any] = [
    pytest.param(tractor_zmq.transport, None, id="tcp"),
    pytest.param(tractor_zmq.transport, Address("zmq+tcp", "::1", 0), id="tcp6", marks=needs_ipv6),
    pytest.param(tractor_zmq.ipc_transport, None, id="ipc"),
]


@pytest.mark.parametrize("swap", [False, True], ids=["dialler", "listener"])
@pytest.mark.parametrize("check", PAIR_CHECKS)
@pytest.mark.parametrize(("transport", "address"), CASES)
async def test_pair(
    transport: Transport,
    address: Address | None,
    check: Callable[[Connection, Connection], Awaitable[None]],
    swap: bool,
) -> None:
    async with connected_pair(transport, address)(TransportOptions()) as pair:
        a, b = reversed(pair) if swap else pair
        a.max_frame = b.max_frame = 1024 * 1024
        await check(a, b)


@pytest.mark.parametrize("swap", [False, True], ids=["dialler", "listener"])
@pytest.mark.parametrize(("transport", "address"), CASES)
async def test_sizes_up_to_the_limit(transport: Transport, address: Address | None, swap: bool) -> None:
    async with connected_pair(transport, address)(TransportOptions()) as pair:
        a, b = reversed(pair) if swap else pair
        await check_sizes(a, b, 16 * 1024 * 1024)


async def test_the_kit_as_others_call_it() -> None:
    await check_transport(connected_pair(tractor_zmq.transport))


@pytest.mark.parametrize("check", LISTENER_CHECKS)
@pytest.mark.parametrize(("transport", "address"), CASES)
async def test_listening(transport: Transport, address: Address | None, check: Any) -> None:
    await check(transport, address or transport.default_bind())


@pytest.mark.parametrize("transport", [tractor_zmq.transport, tractor_zmq.ipc_transport])
async def test_a_frame_over_the_limit_of_libzmq_is_refused_here(transport: Transport) -> None:
    async with connected_pair(transport)(TransportOptions()) as (a, b):
        assert a.max_send_frame is not None
        b.max_frame = a.max_send_frame
        with pytest.raises(ValueError, match="max_send_frame"):
            a.send_nowait([b"in front", bytes(a.max_send_frame + 1)])
        assert a.send_nowait([bytes(a.max_send_frame)]) == 1
        assert [len(frame) for frame in await b.receive()] == [a.max_send_frame]
