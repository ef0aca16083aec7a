"""Whole trees of processes with WebSockets as their only transport."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import trio
import trio.testing
import trustme
import ws_endpoints

import tractor_core as tractor
from tractor_core.errors import ActorDied, AuthenticationFailed, TransportClosed


@pytest.fixture(params=["ws", "wss"])
def options(request: pytest.FixtureRequest, certificates: tractor.TLSConfig) -> dict[str, object]:
    tls = {"tls": certificates} if request.param == "wss" else {}
    return {"registry_addrs": [f"{request.param}://127.0.0.1:0"], "start_method": "subprocess", **tls}


async def test_a_program(options: dict[str, object]) -> None:
    async with tractor.open_nursery(**options) as nursery:
        portal = await nursery.start_actor("worker", enable_modules=["ws_endpoints"])
        scheme = str(options["registry_addrs"]).split("'")[1].partition(":")[0]
        assert portal.chan.laddr.scheme == scheme
        assert portal.chan.peer.facts.encrypted == (scheme == "wss")
        assert await portal.run(ws_endpoints.add, 1, 2) == 3
        assert len(await portal.run(ws_endpoints.blob, 5_000_000)) == 5_000_000
        async with portal.open_stream_from(ws_endpoints.count, n=2000) as stream:
            assert [value async for value in stream] == list(range(2000))
        async with portal.open_context(ws_endpoints.echo) as (ctx, first):
            assert first == "ready"
            async with ctx.open_stream() as stream:
                for value in ("a", b"b" * 300_000, 3):
                    await stream.send(value)
                    assert await stream.receive() == value
        assert await ctx.wait_for_result() == "end"
        async with tractor.find_actor("worker") as found:
            assert found is not None
            assert await found.run(ws_endpoints.pid) == await portal.run(ws_endpoints.pid)
        pids = await portal.run(ws_endpoints.ask_below, depth=2)
        assert len(set(pids)) == 3
        await portal.cancel_actor()


async def test_a_killed_child_ends_its_calls(options: dict[str, object]) -> None:
    ended: list[Exception] = []

    async def call(portal: tractor.Portal) -> None:
        try:
            await portal.run(ws_endpoints.forever)
        except TransportClosed as error:
            ended.append(error)

    with pytest.raises(ActorDied, match="SIGKILL"):
        async with tractor.open_nursery(**options) as nursery:
            portal = await nursery.start_actor("worker", enable_modules=["ws_endpoints"])
            number = await portal.run(ws_endpoints.pid)
            async with trio.open_nursery() as calls:
                for _ in range(3):
                    calls.start_soon(call, portal)
                await trio.testing.wait_all_tasks_blocked(0.05)
                with trio.fail_after(5):
                    os.kill(number, signal.SIGKILL)
                    while len(ended) < 3:
                        await trio.sleep(0.01)
            await trio.sleep_forever()
    assert [type(error) for error in ended] == [ActorDied] * 3


_DAEMON = """
import sys
sys.path[:0] = {path!r}
import tractor_core
tractor_core.run_daemon(["ws_endpoints"], registry_addrs=[{url!r}])
"""


async def test_a_killed_stranger_ends_the_call_that_waits_for_it(free_tcp_registry: str) -> None:
    """Nobody supervises it: only the path can tell."""
    url = free_tcp_registry.replace("tcp", "ws")
    command = [sys.executable, "-c", _DAEMON.format(path=sys.path, url=url)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        while True:
            try:
                async with tractor.open_portal(url) as portal:
                    assert await portal.run(ws_endpoints.pid) == process.pid
                    break
            except OSError:
                await trio.sleep(0.05)
        with pytest.raises(TransportClosed):
            async with tractor.open_portal(url) as portal, trio.open_nursery() as nursery:
                nursery.start_soon(portal.run, ws_endpoints.forever)
                await trio.testing.wait_all_tasks_blocked(0.05)
                process.kill()
                with trio.fail_after(5):
                    await trio.sleep_forever()
    finally:
        process.kill()
        process.wait()


async def test_a_certificate_of_another_authority_is_no_certificate(
    certificates: tractor.TLSConfig, tmp_path: Path
) -> None:
    stranger = tmp_path / "stranger.pem"
    trustme.CA().cert_pem.write_to_path(stranger)
    async with tractor.open_root_actor(
        registry_addrs=["wss://127.0.0.1:0"], tls=certificates, enable_modules=["ws_endpoints"]
    ) as root:
        url = root.accept_addrs[0].url
        wrong = tractor.TLSConfig(certificates.cert, certificates.key, str(stranger))
        for tls in (wrong, None):
            with pytest.raises(AuthenticationFailed, match=f"^the certificate of {url} is not good: "):
                async with tractor.open_portal(url, tls=tls, auth_key="a key of some length"):
                    pytest.fail("it trusts")
        async with tractor.open_portal(url, tls=certificates) as portal:
            assert await portal.run(ws_endpoints.add, 1, 2) == 3


async def test_the_certificate_must_name_the_host_that_was_dialled(certificates: tractor.TLSConfig) -> None:
    # Good for 127.0.0.1 and localhost.
    async with tractor.open_root_actor(registry_addrs=["wss://127.0.0.2:0"], tls=certificates) as root:
        with pytest.raises(AuthenticationFailed, match=r"127\.0\.0\.2.* is not good: .*mismatch"):
            async with tractor.open_portal(
                root.accept_addrs[0], tls=certificates, auth_key="a key of some length"
            ):
                pytest.fail("it trusts")


@pytest.mark.parametrize("abruptly", [True, False])
async def test_a_listener_that_goes_away_during_the_tls_handshake(
    certificates: tractor.TLSConfig, abruptly: bool
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"wss://127.0.0.1:{server.getsockname()[1]}"

        def hang_up() -> None:
            peer, _ = server.accept()
            if not abruptly:
                # All that came was read, so that closing is no reset.
                assert peer.recv(65536)
            peer.close()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, hang_up)
            with pytest.raises(ConnectionResetError, match="no TLS connection"):
                async with tractor.open_portal(url, tls=certificates, auth_key="a key of some length"):
                    pytest.fail("it was let in")


async def test_a_wildcard_is_dialled_and_certified_at_its_loopback(certificates: tractor.TLSConfig) -> None:
    async with tractor.open_root_actor(
        registry_addrs=["wss://127.0.0.1:0"],
        bind_addrs=["wss://0.0.0.0:0"],
        tls=certificates,
        auth_key="a key of some length",
        enable_modules=["ws_endpoints"],
    ) as root:
        [wildcard] = [address for address in root.accept_addrs if address.host == "0.0.0.0"]
        url = f"wss://0.0.0.0:{wildcard.port}"
        async with tractor.open_portal(url, tls=certificates, auth_key="a key of some length") as portal:
            assert await portal.run(ws_endpoints.add, 1, 2) == 3
