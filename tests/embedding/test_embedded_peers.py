"""Peers of an actor whose connections a server of the program accepts: as good as over a listener."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import embedded_servers
import pytest
import stock_client
import trio
import ws_endpoints
from embedded_servers import PATHS, TOKEN, serving
from other_roots import other_root

import tractor_core as tractor
from tractor_core.errors import AuthenticationFailed, ModuleNotExposed, TransportClosed

KINDS = sorted(PATHS)


@asynccontextmanager
async def served(kind: str, **options: Any) -> AsyncIterator[tuple[str, tractor.Actor]]:
    """A root behind a server of that kind, in a task tree of its own; its URL."""
    options = {"enable_modules": ["ws_endpoints"], "auth_tokens": {TOKEN: "client"}} | options
    async with other_root(registry_addrs=["mem://embedded"], **options) as other:
        async with serving(kind, lambda: other.actor) as url:
            yield url + PATHS[kind], other.actor


async def until_nobody_is_connected(actor: tractor.Actor) -> None:
    with trio.fail_after(5):
        while actor.peers:
            await trio.sleep(0.01)


@pytest.mark.parametrize("query", ["", "?codec=json"], ids=["msgpack", "json"])
@pytest.mark.parametrize("kind", KINDS)
async def test_calls_streams_and_large_values(kind: str, query: str) -> None:
    async with served(kind) as (url, actor):
        async with tractor.open_portal(url + query) as portal:
            assert await portal.run(ws_endpoints.add, 1, 2) == 3
            assert await portal.run(ws_endpoints.pid) == os.getpid()
            assert len(await portal.run(ws_endpoints.blob, 2_000_000)) >= 2_000_000
            async with portal.open_stream_from(ws_endpoints.count, n=500) as stream:
                assert [value async for value in stream] == list(range(500))
            async with portal.open_context(ws_endpoints.echo) as (ctx, first):
                assert first == "ready"
                async with ctx.open_stream() as stream:
                    for value in ("a", 3, ["x" * 300_000]):
                        await stream.send(value)
                        assert await stream.receive() == value
            [[channel]] = actor.peers.values()
            facts = channel.peer.facts
            assert (facts.codec, facts.encrypted) == ("json" if query else "msgpack", False)
            assert channel.raddr.host == "127.0.0.1" and channel.raddr.scheme == "ws"
        await until_nobody_is_connected(actor)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stock_client(kind: str) -> None:
    async with served(kind) as (url, actor):
        finished = await trio.run_process(
            [sys.executable, stock_client.__file__, url, TOKEN], capture_stdout=True
        )
        answers = json.loads(finished.stdout)
        assert answers["multiply"] == ["return", 42]
        assert answers["ticks"] == list(range(100))
        assert answers["double"] == ["ready", 2, "aa", [2, 2], ["return", "doubled"]]
        assert answers["hang"] == [True, "error", "cancelled"]
        assert answers["not for clients"][1] == "notexposed"
        assert not actor.cancel_called
        await until_nobody_is_connected(actor)


@pytest.mark.parametrize("kind", KINDS)
async def test_clients_get_what_is_theirs(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    async with served(kind) as (url, actor), tractor.open_portal(url, token=TOKEN) as portal:
        assert await portal.run(ws_endpoints.multiply, x=6, y=7) == 42
        with pytest.raises(ModuleNotExposed):
            await portal.run(ws_endpoints.add, 1, 2)
        with pytest.raises(AuthenticationFailed, match="refused this actor"):
            async with tractor.open_portal(url, token="a token that nobody knows"):
                pytest.fail("it is in")
        with pytest.raises(AuthenticationFailed):
            async with tractor.open_portal(url, auth_key="a key of some other tree"):
                pytest.fail("it is in")
        assert await portal.run(ws_endpoints.multiply, x=2, y=3) == 6
        [[channel]] = actor.peers.values()
        assert (channel.peer.role, channel.aid.name) == ("client", "client")
    refusals = [record for record in caplog.records if "refused" in record.getMessage()]
    assert {record.name for record in refusals} == {"tractor_core.ipc"}
    assert 1 <= len(refusals) <= 2  # one line for each second
    assert "Traceback" not in caplog.text


@pytest.mark.limit(60)
@pytest.mark.parametrize("kind", KINDS)
async def test_fifty_streams_at_once(kind: str) -> None:
    heard: list[int] = []

    async def one(url: str) -> None:
        async with tractor.open_portal(url) as portal:
            async with portal.open_stream_from(ws_endpoints.count, n=100) as stream:
                heard.append(len([value async for value in stream]))

    async with served(kind) as (url, actor):
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(one, url)
        await until_nobody_is_connected(actor)
    assert heard == [100] * 50


_CALLER = """
import sys
sys.path[:0] = {path!r}
import trio, tractor_core, ws_endpoints

async def main():
    async with tractor_core.open_portal({url!r}) as portal:
        async with portal.open_context(ws_endpoints.echo) as (ctx, _), ctx.open_stream() as stream:
            await stream.send(1)
            print(await stream.receive(), flush=True)
            await trio.sleep_forever()

trio.run(main)
"""


@pytest.mark.parametrize("kind", KINDS)
async def test_a_killed_peer_is_noticed_and_harms_nobody(kind: str) -> None:
    async with served(kind) as (url, actor), tractor.open_portal(url) as bystander:
        command = [sys.executable, "-c", _CALLER.format(path=sys.path, url=url)]
        process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        try:
            heard = b""
            while heard != b"1\n":
                heard += await process.stdout.receive_some()
            assert len(actor.peers) == 2
            process.kill()
            with trio.fail_after(5):
                while len(actor.peers) > 1:
                    await trio.sleep(0.01)
        finally:
            process.kill()
            await process.wait()
            await process.stdout.aclose()
        assert await bystander.run(ws_endpoints.add, 1, 2) == 3


@pytest.mark.parametrize("kind", KINDS)
async def test_the_server_stops_while_streams_run(kind: str) -> None:
    """Both sides hear of it, and the actor lives on."""
    ended: list[Exception] = []

    async def converse(url: str, talking: trio.Event) -> None:
        try:
            async with tractor.open_portal(url) as portal:
                async with portal.open_context(ws_endpoints.echo) as (ctx, _), ctx.open_stream() as stream:
                    while True:
                        await stream.send(1)
                        await stream.receive()
                        talking.set()
        except Exception as error:
            ended.append(error)

    options = {"enable_modules": ["ws_endpoints"]}
    async with other_root(registry_addrs=["mem://stops"], **options) as other, trio.open_nursery() as nursery:
        async with serving(kind, lambda: other.actor) as url:
            talking = [trio.Event() for _ in range(3)]
            for event in talking:
                nursery.start_soon(converse, url + PATHS[kind], event)
            for event in talking:
                await event.wait()
        with trio.fail_after(5):
            while len(ended) < 3:
                await trio.sleep(0.01)
        await until_nobody_is_connected(other.actor)
        async with tractor.open_portal("mem://stops") as portal:
            assert await portal.run(ws_endpoints.add, 1, 2) == 3
    assert [type(error) for error in ended] == [TransportClosed] * 3


@pytest.mark.parametrize("kind", KINDS)
async def test_the_actor_ends_while_the_server_lives_on(kind: str) -> None:
    async with other_root(registry_addrs=["mem://ends"], enable_modules=["ws_endpoints"]) as other:
        async with serving(kind, lambda: other.actor) as url:
            with pytest.raises((TransportClosed, tractor.ContextCancelled)):
                async with tractor.open_portal(url + PATHS[kind]) as portal:
                    async with (
                        portal.open_context(ws_endpoints.echo) as (ctx, _),
                        ctx.open_stream() as stream,
                    ):
                        await stream.send(1)
                        assert await stream.receive() == 1
                        await other.close()
                        await stream.receive()
            how = "1013" if kind == "open" else "HTTP 503"
            for _ in range(2):
                with pytest.raises(TransportClosed, match=how):
                    async with tractor.open_portal(url + PATHS[kind]):
                        pytest.fail("it is in")


@pytest.mark.parametrize("kind", KINDS)
async def test_an_actor_is_ended_by_a_peer_of_an_embedded_server(kind: str) -> None:
    async with served(kind) as (url, actor):
        async with tractor.open_portal(url) as portal:
            assert await portal.cancel_actor()
        with trio.fail_after(5):
            while actor.peers:
                await trio.sleep(0.01)
        assert actor.cancel_called


@pytest.mark.parametrize("kind", ["asgi", "request"])
async def test_a_program_that_is_both_ends_by_a_signal(kind: str, free_tcp_registry: str) -> None:
    """Server and actor in one process: peers are told, and nothing holds it back."""
    port = int(free_tcp_registry.rpartition(":")[2])
    url = f"ws://127.0.0.1:{port}{PATHS[kind]}"
    script = f"import sys; sys.path[:0] = {sys.path!r}; sys.argv[1:] = [{kind!r}, '{port}']; import runpy; "
    program = script + f"runpy.run_path({embedded_servers.__file__!r}, run_name='__main__')"
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.DEVNULL)
    try:
        with trio.fail_after(15):
            while True:
                try:
                    with trio.socket.socket() as probe:
                        await probe.connect(("127.0.0.1", port))
                    break
                except OSError:
                    await trio.sleep(0.05)
        with pytest.raises(TransportClosed):
            async with tractor.open_portal(url) as portal:
                assert await portal.run(ws_endpoints.pid) == process.pid
                async with portal.open_context(ws_endpoints.echo) as (ctx, _), ctx.open_stream() as stream:
                    await stream.send(1)
                    assert await stream.receive() == 1
                    process.send_signal(signal.SIGTERM)
                    with trio.fail_after(5):
                        await stream.receive()
        with trio.fail_after(5):
            while process.poll() is None:
                await trio.sleep(0.01)
        assert process.returncode == -signal.SIGTERM
    finally:
        process.kill()
        process.wait()
