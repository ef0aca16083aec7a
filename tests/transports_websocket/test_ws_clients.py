"""Clients: who proves a token may call what is marked for clients, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from other_roots import other_root
from trio.testing import MockClock

import tractor_core as tractor
from tractor_core.discovery.link import RegistryLink
from tractor_core.errors import AuthenticationFailed, ModuleNotExposed
from tractor_core.msg import types as m
from tractor_core.msg.types import Aid
from tractor_core.protocol.auth import ClientTokens, OneTimeSecrets
from tractor_core.protocol.handshake import MSGPACK, Acceptor, Dialler, HandshakeError, Identity, Peer
from tractor_core.seams import PeerFacts

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
        (channel.aid.name, channel.aid.uuid, channel.peer.role)
        for channels in peers.values()
        for channel in channels
    )


async def for_the_tree_only() -> str:
    return "secret"


async def where() -> str:
    return tractor.current_actor().accept_addrs[0].url


@tractor.expose(clients=False)
async def expressly_not() -> str:
    return "secret"


class Served:
    """A root that admits clients, and how they reach it."""

    def __init__(self, actor: tractor.Actor, query: str) -> None:
        self.actor = actor
        self.url = actor.accept_addrs[0].url + query


Serving = Callable[..., "AbstractAsyncContextManager[Served]"]


@pytest.fixture(params=[MEM, WS, f"{WS}?codec=json"], ids=["mem", "ws", "ws-json"])
def serving(request: pytest.FixtureRequest) -> Serving:
    bind, question_mark, query = request.param.partition("?")

    @asynccontextmanager
    async def make(**options: Any) -> AsyncIterator[Served]:
        options = {"auth_tokens": TOKENS, "enable_modules": [__name__], "registry_addrs": [bind]} | options
        async with other_root(**options) as other:
            yield Served(other.actor, question_mark + query)

    return make


async def test_a_client_calls_what_is_meant_for_clients(serving: Serving) -> None:
    async with serving() as served, tractor.open_portal(served.url, token=TOKEN) as portal:
        assert await portal.run(greet, whom="you") == "hello you"
        async with portal.open_context(twice) as (ctx, first):
            assert first == "ready"
            async with ctx.open_stream() as stream:
                await stream.send(21)
                assert await stream.receive() == 42
        assert await ctx.wait_for_result() == 1
        async with portal.open_stream_from(numbers, stop=3) as received:
            assert [value async for value in received] == [0, 1, 2]
        async with portal.open_context(forever) as (ctx, _):
            await ctx.cancel()
        assert ctx.cancelled_caught


async def test_large_values_go_both_ways(serving: Serving) -> None:
    async with serving() as served, tractor.open_portal(served.url, token=TOKEN) as portal:
        text = "ä" * 1_000_000
        assert await portal.run(greet, whom=text) == f"hello {text}"


async def test_a_client_goes_by_the_name_of_its_token(serving: Serving) -> None:
    async with serving() as served:
        async with tractor.open_portal(served.url, token=TOKEN, name="somebody else") as portal:
            [(name, uuid, role)] = await portal.run(who_calls)
            assert (name, role) == ("browser", "client")
            async with tractor.open_portal(served.url, token=OTHER_TOKEN) as other:
                assert [name for name, _, _ in await other.run(who_calls)] == ["browser", "script"]
            assert uuid not in (served.actor.aid.uuid, portal.chan.aid.uuid)
            assert (portal.chan.peer.role, portal.chan.peer.method) == ("client", "token")


async def test_a_client_needs_no_cookie(
    serving: Serving, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with serving() as served:
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
        async with tractor.open_portal(served.url, token=TOKEN) as portal:
            assert await portal.run(greet, whom="you") == "hello you"
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("function", [for_the_tree_only, expressly_not])
async def test_a_client_cannot_call_what_is_not_meant_for_it(
    serving: Serving, function: Callable[[], Awaitable[str]]
) -> None:
    async with serving() as served, tractor.open_portal(served.url) as tree:
        async with tractor.open_portal(served.url, token=TOKEN) as portal:
            with pytest.raises(ModuleNotExposed, match="is not open to client 'browser'"):
                await portal.run(function)
            assert await portal.run(greet, whom="you") == "hello you"
        assert await tree.run(function) == "secret"


async def test_a_client_is_not_told_what_else_there_is(serving: Serving) -> None:
    async with serving() as served, tractor.open_portal(served.url, token=TOKEN) as portal:
        for namespace, name in [(__name__, "for_the_tree_onl"), ("os", "system"), ("self", "nonsense")]:
            with pytest.raises(ModuleNotExposed) as caught:
                await portal.run_from_ns(namespace, name)
            assert "for_the_tree_only" not in str(caught.value)
            assert "status" not in str(caught.value)
            assert "is not open to client" in str(caught.value)


async def test_a_client_cannot_cancel_the_actor(serving: Serving) -> None:
    async with serving() as served, tractor.open_portal(served.url) as tree:
        async with tractor.open_portal(served.url, token=TOKEN) as portal:
            assert not await portal.cancel_actor()
            assert await portal.run(greet, whom="still") == "hello still"
        assert not served.actor.cancel_called
        assert await tree.run(for_the_tree_only) == "secret"


@pytest.mark.parametrize(
    ("question", "arguments"),
    [
        ("register", {"addresses": ["tcp://192.0.2.1:1"]}),
        ("unregister", {}),
        ("find", {"name": "root"}),
        ("wait", {"name": "nobody"}),
        ("refused", {"uuid": "x", "addresses": []}),
        ("status", {}),
    ],
)
async def test_a_client_has_no_use_of_the_registry(
    serving: Serving, question: str, arguments: dict[str, Any]
) -> None:
    async with serving() as served:
        registrar = served.actor.room(RegistryLink).local
        assert registrar is not None
        before = registrar.find("root")
        async with tractor.open_portal(served.url, token=TOKEN) as portal:
            with pytest.raises(ModuleNotExposed, match="is not open to client"):
                await portal.run_from_ns("self", question, **arguments)
        assert registrar.find("root") == before
        assert not registrar.find("browser")


async def test_a_wrong_token_is_refused_and_both_are_told(
    serving: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving() as served, tractor.open_portal(served.url, token=TOKEN) as bystander:
        with pytest.raises(AuthenticationFailed, match="refused this actor: .* token"):
            async with tractor.open_portal(served.url, token="a token that nobody knows"):
                pytest.fail("it is in")
        while "this actor refused" not in caplog.text:
            await trio.sleep(0.01)
        assert "nobody knows" not in caplog.text
        assert await bystander.run(greet, whom="you") == "hello you"


async def test_without_tokens_no_client_is_admitted(serving: Serving) -> None:
    async with serving(auth_tokens=None) as served:
        with pytest.raises(AuthenticationFailed, match="clients are not admitted here"):
            async with tractor.open_portal(served.url, token=TOKEN):
                pytest.fail("it is in")


async def test_children_do_not_admit_the_clients_of_their_parent(autojump_clock: MockClock) -> None:
    async with tractor.open_nursery(
        registry_addrs=[MEM], start_method="inproc", auth_tokens=TOKENS
    ) as nursery:
        portal = await nursery.start_actor("child", enable_modules=[__name__])
        assert await portal.run(greet, whom="you") == "hello you"
        with pytest.raises(AuthenticationFailed, match="clients are not admitted here"):
            async with tractor.open_portal(await portal.run(where), token=TOKEN):
                pytest.fail("it is in")
        await portal.cancel_actor()


def shaken(hello: Aid, tokens: dict[str, str], secret: str) -> tuple[Peer, Peer]:
    """What dialler and acceptor learn of each other when a client says that it is ``hello``."""
    facts = PeerFacts()
    far = Acceptor(
        Identity(Aid("actor", "a" * 32, 1), b"k" * 32),
        nonce=b"a" * 32,
        facts=facts,
        my_uid=1,
        spawn_secrets=OneTimeSecrets(),
        tokens=ClientTokens(tokens),
    )
    near = Dialler(
        Identity(hello, b"x" * 32),
        nonce=b"d" * 32,
        facts=facts,
        my_uid=1,
        method="token",
        secret=secret.encode(),
    )
    far.on_hello(near.hello())
    answer, client = far.on_auth(near.on_hello(far.hello()))
    return near.on_answer(answer), client


def test_nothing_a_client_says_of_itself_is_believed() -> None:
    actor, client = shaken(Aid("registrar", "a" * 32, 4711, True), TOKENS, TOKEN)
    assert (client.aid.name, client.aid.pid, client.aid.is_registrar) == ("browser", 0, False)
    assert client.aid.uuid != "a" * 32
    assert client.role == actor.role == "client"
    assert actor.aid.uuid == "a" * 32


def test_the_client_checks_that_the_acceptor_holds_its_token_too() -> None:
    near = Dialler(
        Identity(Aid("client", "c" * 32), b"x" * 32),
        nonce=b"d" * 32,
        facts=PeerFacts(),
        my_uid=1,
        method="token",
        secret=TOKEN.encode(),
    )
    near.hello()
    near.on_hello(MSGPACK.encode(m.Hello(Aid("actor", "a" * 32), m.PROTOCOL, ["msgpack"], b"a" * 32)))
    with pytest.raises(HandshakeError, match="the acceptor does not hold"):
        near.on_answer(MSGPACK.encode(m.Auth("token", b"z" * 32)))


@pytest.mark.parametrize(
    ("tokens", "fault"),
    [
        ({"short": "name"}, "16 are needed"),
        ({TOKEN: ""}, "printable"),
        ({TOKEN: "a\nb"}, "printable"),
        ({f"{number:020}": "x" for number in range(1001)}, "at most 1000"),
    ],
)
def test_tokens_that_make_no_sense(tokens: dict[str, str], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        ClientTokens(tokens)
