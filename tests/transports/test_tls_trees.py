"""Trees over TLS: real processes, certificates from arguments and environment, and who may listen where."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import tls_endpoints
import trio
import trustme
from tls_files import make_tls

import tractor_core as tractor
from tractor_core.errors import AuthenticationFailed, PluginError
from tractor_core.seams import TLSConfig

PROGRAM = "import sys, trio, tls_endpoints; trio.run(tls_endpoints.ask, sys.argv[1])"
KEY = b"0123456789abcdef"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA) -> TLSConfig:
    return make_tls(tmp_path_factory.mktemp("tls"), ca=authority)


def in_environment(tls: TLSConfig) -> dict[str, str]:
    return {"TRACTOR_TLS_CERT": tls.cert, "TRACTOR_TLS_KEY": tls.key, "TRACTOR_TLS_CA": tls.ca}


async def run_program(url: str, environment: dict[str, str]) -> str:
    finished = await trio.to_thread.run_sync(
        partial(
            subprocess.run,
            [sys.executable, "-c", PROGRAM, url],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent), **environment},
            capture_output=True,
            text=True,
            timeout=20,
        )
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.strip()


async def test_a_tree_of_processes_over_tls_alone(tls: TLSConfig) -> None:
    async with tractor.open_nursery(registry_addrs=["tls://127.0.0.1:0"], tls=tls) as nursery:
        portal = await nursery.start_actor("child", enable_modules=["tls_endpoints"])
        assert await portal.run(tls_endpoints.whoami) == "child"
        assert portal.chan.peer.facts.certified and portal.chan.peer.method == "spawn"
        assert await portal.run(tls_endpoints.grandchild) == ("leaf", True)
        assert all(url.startswith("tls://") for url in await portal.run(tls_endpoints.addresses))
        async with tractor.find_actor("child") as found:
            assert found is not None
        await nursery.cancel()


async def test_certificates_from_the_environment_by_relative_paths(
    tls: TLSConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = TLSConfig(*(os.path.relpath(path) for path in (tls.cert, tls.key, tls.ca)))
    for name, value in in_environment(here).items():
        monkeypatch.setenv(name, value)
    async with tractor.open_nursery(registry_addrs=["tls://127.0.0.1:0"]) as nursery:
        portal = await nursery.start_actor("child", enable_modules=["tls_endpoints"])
        assert await portal.run(tls_endpoints.spawn_elsewhere)
        url = portal.chan.raddr.url
        await nursery.cancel()
    assert url.startswith("tls://")


async def test_certificates_stand_in_for_the_cookie_of_another_user(tls: TLSConfig, tmp_path: Path) -> None:
    another = {"XDG_CONFIG_HOME": str(tmp_path / "config"), **in_environment(tls)}
    async with tractor.open_root_actor(
        registry_addrs=["tls://127.0.0.1:0", "tcp://127.0.0.1:0"], tls=tls, enable_modules=["tls_endpoints"]
    ) as root:
        over_tls, over_tcp = (address.url for address in root.accept_addrs)
        assert await run_program(over_tls, another) == "root certificate"
        assert (await run_program(over_tcp, another)).startswith("AuthenticationFailed")


async def test_certificates_do_not_replace_a_key_that_was_given(tls: TLSConfig) -> None:
    async with tractor.open_root_actor(
        registry_addrs=["tls://127.0.0.1:0"], tls=tls, auth_key=KEY, enable_modules=["tls_endpoints"]
    ) as root:
        url = root.accept_addrs[0].url
        answer = await run_program(url, in_environment(tls))
        assert answer.startswith("AuthenticationFailed") and "explicit auth_key is demanded" in answer
        async with tractor.open_portal(url, auth_key=KEY, tls=tls) as portal:
            assert portal.chan.peer.method == "key"


async def test_a_client_of_another_authority_is_refused(tls: TLSConfig, tmp_path: Path) -> None:
    strange = make_tls(tmp_path)
    mixed = TLSConfig(strange.cert, strange.key, tls.ca)
    async with tractor.open_root_actor(registry_addrs=["tls://127.0.0.1:0"], tls=tls) as root:
        for certificates in (strange, mixed):
            with pytest.raises(AuthenticationFailed, match="certificate"):
                async with tractor.open_portal(root.accept_addrs[0], auth_key=KEY, tls=certificates):
                    pytest.fail("it was let in")


async def test_channels_for_raw_use_take_certificates(tls: TLSConfig) -> None:
    async with tractor.open_root_actor(registry_addrs=["tls://127.0.0.1:0"], tls=tls) as root:
        async with await tractor.Channel.from_addr(root.accept_addrs[0], tls=tls) as channel:
            assert channel.aid.name == "root"


async def test_certificates_allow_the_network_only_where_they_are_used(tls: TLSConfig) -> None:
    async with tractor.open_root_actor(
        registry_addrs=["mem://exposed"], bind_addrs=["tls://0.0.0.0:0"], tls=tls
    ) as root:
        assert root.accept_addrs[1].host == "0.0.0.0"
    for refused in ("tcp://0.0.0.0:0", "tls://0.0.0.0:0"):
        with pytest.raises(ValueError, match="can be reached from the network"):
            given = tls if refused.startswith("tcp") else None
            async with tractor.open_root_actor(
                registry_addrs=["mem://exposed"], bind_addrs=[refused], tls=given
            ):
                pytest.fail("it listens")


async def test_listening_without_certificates_says_how_to_give_some() -> None:
    with pytest.raises(PluginError, match="TRACTOR_TLS_CERT"):
        async with tractor.open_root_actor(registry_addrs=["tls://127.0.0.1:0"]):
            pytest.fail("it listens")
