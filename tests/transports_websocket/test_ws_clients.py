"""Clients: who proves a token may call what is marked for clients, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import trio
import trio.testing
from other_roots import other_root

import tractor_core as tractor
from tractor_core.errors import AuthenticationFailed, ContextCancelled, ModuleNotExposed, PluginError
from tractor_core.msg import types as m

TOKEN = "token-of-the-first-client"
OTHER_TOKEN = "token-of-another-client"
TOKENS = {TOKEN: "browser", OTHER_TOKEN: "script"}

MEM = "mem://clients"
WS = "ws://127.0.0.1:0"


@tractor.expose(clients=True)
async def greet(whom: str) -> str:
    return f"hello {whom}"


@tractor.expose(clients=True)
@tractor.context
async def twice(ctx: tractor.Context) -> int:
    await ctx.started("ready")
    count = 0
    async with ctx.open_stream() as stream:
        async for value in stream:
            await stream.send(value * 2)
            count += 1
    return count


@tractor.context
@tractor.expose(clients=True)
async def forever(ctx: tractor.Context) -> None:
    await ctx.started()
    await trio.sleep_forever()


@tractor.expose(clients=True)
async def numbers(stop: int) -> AsyncIterator[int]:
    for number in range(stop):
        yield number


@tractor.expose(clients=True)
async def who_calls() -> list[tuple[str, str, str]]:
    peers = tractor.current_actor().peers
    return sorted(
        (channel.aid.name, channel.aid.uuid, channel.peer.role) for channels in peers.values() for channel in channels
    )


async def for_the_tree_only() -> str:
    return "secret"


@tractor.expose(clients=False)
async def expressly_not() -> str:
    return "secret"


@pytest.fixture(params=[MEM, WS, f"{WS}?codec=json"], ids=["mem", "ws", "ws-json"])
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    yield request.param


class Served:
    """A root that admits clients, and how to reach it."""

    def __init__(self, root: tractor.Actor, codec: str) -> None:
        self.root = root
        self.url = root.accept_addrs[0].url + (f"?{codec}" if codec else "")


@pytest.fixture
def serving(address: str):  # type: ignore[no-untyped-def]
    bind, _, codec = address.partition("?")

    def make(**options: object):  # type: ignore[no-untyped-def]
        return other_root(registry_addrs=[bind], enable_modules=[__name__], **options)

    return lambda **options: _Serving(make(**({"auth_tokens": TOKENS} | options)), codec)


class _Serving:
    def __init__(self, manager, codec: str) -> None:  # type: ignore[no-untyped-def]
        self._manager = manager
        self._codec = codec

    async def __aenter__(self) -> Served:
        other = await self._manager.__aenter__()
        return Served(other.actor, self._codec)

    async def __aexit__(self, *error: object) -> None:
        await self._manager.__aexit__(*error)


async def test_a_client_calls_what_is_meant_for_clients(serving) -> None:  # type: ignore[no-untyped-def]
    async with serving() as served:
        async with tractor.open_portal(served.url, token=TOKEN) as portal:
            assert await portal.run(greet, whom="you") == "hello you"
            async with portal.open_context(twice) as (ctx, first):
                assert first == "ready"
                async with ctx.open_stream() as stream:
                    await stream.send(21)
                    assert await stream.receive() == 42
            assert await ctx.wait_for_result() == 1
            async with portal.open_stream_from(numbers, stop=3) as stream:
                assert [value async for value in stream] == [0, 1, 2]
            async with portal.open_context(forever) as (ctx, _):
                await ctx.cancel()
            assert ctx.cancelled_caught
