"""WebSockets keep every promise of the seam, whichever end dialled."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from msgspec.structs import replace
from tools import needs_ipv6

import tractor_websocket
from tractor_core.seams import Address, Connection, Listener, TLSConfig, TransportOptions, parse_address
from tractor_core.testing import check_listener, check_transport, connected_pair
from tractor_core.testing.check_listener import LISTENER_CHECKS
from tractor_core.testing.check_transport import PAIR_CHECKS, check_buffers_are_free, check_sizes
from tractor_websocket import WebSocketConnection, WebSocketTransport

ADDRESSES: list[Any] = [
    pytest.param(None, id="ws"),
    pytest.param(Address("ws", "::1", 0), id="ws6", marks=needs_ipv6),
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


class Encrypted(WebSocketTransport):
    """``wss`` with certificates, whatever options the kit gives it."""

    def __init__(self, certificates: TLSConfig) -> None:
        super().__init__("wss")
        self._certificates = certificates

    async def connect(self, address: Address, options: TransportOptions) -> WebSocketConnection:
        return await super().connect(address, replace(options, tls=self._certificates))

    async def listen(self, address: Address, options: TransportOptions) -> Listener:
        return await super().listen(address, replace(options, tls=self._certificates))


@pytest.mark.limit(60)
async def test_encrypted(certificates: TLSConfig) -> None:
    transport = Encrypted(certificates)
    await check_transport(connected_pair(transport))
    await check_listener(transport)


class Text(WebSocketTransport):
    """Dials with the subprotocol of text messages."""

    async def connect(self, address: Address, options: TransportOptions) -> WebSocketConnection:
        return await super().connect(parse_address(f"{address.url}?codec=json"), options)


def _ascii_pattern(size: int, seed: int) -> bytes:
    unit = bytes(32 + (seed + step * 31) % 95 for step in range(95))
    return (unit * (size // 95 + 1))[:size]


@pytest.mark.parametrize("swap", [False, True], ids=["dialler", "listener"])
# The one that is left out sends bytes that are no text.
@pytest.mark.parametrize("check", [check for check in PAIR_CHECKS if check is not check_buffers_are_free])
async def test_text(
    check: Callable[[Connection, Connection], Awaitable[None]], swap: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(check.__globals__, "_pattern", _ascii_pattern)
    async with connected_pair(Text("ws"))(TransportOptions()) as pair:
        a, b = reversed(pair) if swap else pair
        assert a.facts.codec == b.facts.codec == "json"
        a.max_frame = b.max_frame = 1024 * 1024
        await check(a, b)


async def test_a_frame_over_the_limit_is_refused_here() -> None:
    async with connected_pair(tractor_websocket.transport)(TransportOptions()) as (a, b):
        assert a.max_send_frame is not None
        b.max_frame = a.max_send_frame
        with pytest.raises(ValueError, match="max_send_frame"):
            a.send_nowait([b"", bytes(a.max_send_frame + 1)])
        assert a.send_nowait([bytes(a.max_send_frame)]) == 1
        assert [len(frame) for frame in await b.receive()] == [a.max_send_frame]
