"""TLS keeps every promise of the transport seam."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tls_files import WithCertificates, make_tls
from tools import needs_ipv6

from tractor_core.seams import Address, Connection, TransportOptions
from tractor_core.testing import connected_pair
from tractor_core.testing.check_listener import LISTENER_CHECKS
from tractor_core.testing.check_transport import PAIR_CHECKS, check_sizes

ADDRESSES = [
    pytest.param(None, id="tls"),
    pytest.param(Address("tls", "::1", 0), id="tls6", marks=needs_ipv6),
    pytest.param(Address("tls", "localhost", 0), id="name"),
]


@pytest.fixture(scope="module")
def transport(tmp_path_factory: pytest.TempPathFactory) -> WithCertificates:
    return WithCertificates(make_tls(tmp_path_factory.mktemp("tls")))


@pytest.mark.parametrize("check", PAIR_CHECKS)
@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("address", ADDRESSES)
async def test_pairs(
    transport: WithCertificates,
    address: Address | None,
    swap: bool,
    check: Callable[[Connection, Connection], Awaitable[None]],
) -> None:
    async with connected_pair(transport, address)(TransportOptions()) as pair:
        a, b = reversed(pair) if swap else pair
        a.max_frame = b.max_frame = 1024 * 1024
        await check(a, b)


@pytest.mark.parametrize("swap", [False, True])
async def test_sizes_up_to_the_limit(transport: WithCertificates, swap: bool) -> None:
    async with connected_pair(transport)(TransportOptions()) as pair:
        a, b = reversed(pair) if swap else pair
        await check_sizes(a, b, 16 * 1024 * 1024)


@pytest.mark.parametrize("check", LISTENER_CHECKS)
@pytest.mark.parametrize("address", ADDRESSES)
async def test_listening(transport: WithCertificates, address: Address | None, check: Any) -> None:
    await check(transport, address or transport.default_bind())
