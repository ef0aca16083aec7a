"""What the tests of several transports run in other processes."""

from __future__ import annotations

import tractor_core as tractor


async def addresses() -> list[str]:
    """Where this actor can be reached, as its status says."""
    return [address.advertised.url for address in tractor.current_actor().accept_addrs]


async def scheme_to(name: str) -> str:
    """By which transport this actor finds another."""
    async with tractor.find_actor(name, raise_on_none=True) as portal:
        assert portal is not None
        return str(portal.chan.raddr.scheme)
