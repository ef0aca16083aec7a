"""Many clients on one listener, one of which does not read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio
import ws_endpoints

import tractor_core as tractor

TOKEN = "one-token-for-many-clients"
CLIENTS = 100
VALUES = 200


def resident() -> int:
    """The memory this process really uses (bytes)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.limit(60)
@pytest.mark.parametrize("query", ["", "?codec=json"], ids=["msgpack", "json"])
async def test_a_slow_client_slows_nobody(query: str) -> None:
    done: list[int] = []

    async def stream(url: str) -> None:
        async with tractor.open_portal(url, token=TOKEN) as portal:
            async with portal.open_context(ws_endpoints.flood, n=VALUES) as (ctx, _):
                async with ctx.open_stream(overflow="block") as stream:
                    done.append(len([value async for value in stream]))

    async with tractor.open_root_actor(
        registry_addrs=["ws://127.0.0.1:0"], enable_modules=["ws_endpoints"], auth_tokens={TOKEN: "many"}
    ) as root:
        url = root.accept_addrs[0].url + query
        before = resident()
        async with tractor.open_portal(url, token=TOKEN) as slow:
            async with (
                slow.open_context(ws_endpoints.flood, n=1_000_000) as (ctx, _),
                ctx.open_stream(overflow="block") as unread,
            ):
                async with trio.open_nursery() as nursery:
                    for _ in range(CLIENTS):
                        nursery.start_soon(stream, url)
                assert done == [VALUES] * CLIENTS
                assert resident() - before < 200 * 1024 * 1024
                assert await unread.receive() == 0
                await ctx.cancel()
        assert not [channel for channels in root.peers.values() for channel in channels if not channel.closed]
