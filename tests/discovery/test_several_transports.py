"""One actor, several transports: all registered, the nearest dialled, the next where that one fails."""

from __future__ import annotations

import os
import socket

import msgspec
import pytest
import several_endpoints
import trio
import trio.testing
import trustme

import tractor_core as tractor
from tractor_core.discovery.link import RegistryLink
from tractor_core.discovery.registrar import Registrar
from tractor_core.errors import PluginError
from tractor_core.seams import TLSConfig

MODULES = ["several_endpoints"]
SEVERAL = ["tls://127.0.0.1:0", "tcp://127.0.0.1:0"]


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TLSConfig:
    directory = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    leaf = authority.issue_cert("127.0.0.1", "localhost")
    paths = [str(directory / name) for name in ("cert.pem", "key.pem", "ca.pem")]
    leaf.cert_chain_pems[0].write_to_path(paths[0])
    leaf.private_key_pem.write_to_path(paths[1])
    authority.cert_pem.write_to_path(paths[2])
    return TLSConfig(*paths)


@pytest.fixture
def path() -> str:
    """Of a socket; short enough for one."""
    return f"{os.environ['XDG_RUNTIME_DIR']}/several.sock"


async def test_all_are_registered_and_the_nearest_is_dialled(tls: TLSConfig, path: str) -> None:
    async with tractor.open_nursery(registry_addrs=["tls://127.0.0.1:0"], tls=tls) as nursery:
        several = await nursery.start_actor(
            "several", enable_modules=MODULES, bind_addrs=[*SEVERAL, f"uds://{path}"]
        )
        urls = await several.run(several_endpoints.addresses)
        assert [url.partition(":")[0] for url in urls] == ["tls", "tcp", "uds"]
        asker = await nursery.start_actor("asker", enable_modules=MODULES)
        assert await asker.run(several_endpoints.scheme_to, "several") == "uds"
        async with tractor.query_actor("several") as (address, _):
            assert address is not None and address.url == f"uds://{path}"
        for url in urls:
            async with tractor.open_portal(url) as portal:
                assert portal.chan.raddr.url == url
                assert portal.chan.aid.uid == several.chan.aid.uid
        # The file is gone, as it is for whoever is on another host: not even tried.
        os.unlink(path)
        assert await asker.run(several_endpoints.scheme_to, "several") == "tcp"
        await nursery.cancel()


async def test_a_look_up_may_be_kept_to_some_schemes(tls: TLSConfig, path: str) -> None:
    zmq = "zmq+tcp://127.0.0.1:0"
    async with tractor.open_nursery(registry_addrs=["tls://127.0.0.1:0"], tls=tls) as nursery:
        child = await nursery.start_actor("child", bind_addrs=[*SEVERAL, f"uds://{path}", zmq])
        for schemes, used in (
            (["tcp"], "tcp"),
            (["tcp", "uds"], "uds"),
            (["zmq"], "zmq+tcp"),  # another name of it
            ([child.chan.raddr.scheme], child.chan.raddr.scheme),
            (["ws"], None),
            ([], None),
        ):
            for only_first in (True, False):
                with pytest.warns(DeprecationWarning, match="enable_transports"):
                    looking = tractor.find_actor("child", only_first=only_first, enable_transports=schemes)
                async with looking as found:
                    portals = found if isinstance(found, list) else [found] if found else []
                    assert [portal.chan.raddr.scheme for portal in portals] == ([used] if used else [])
        # What was passed over did not fail: it stays registered.
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert len(_registered("child")) == 4
        with (
            pytest.warns(DeprecationWarning, match="enable"),
            pytest.raises(PluginError, match="unknown transport"),
        ):
            async with tractor.find_actor("child", enable_transports=["pigeon"]):
                pytest.fail("there are none")
        with pytest.raises(TypeError, match=r"enable_transports=\['tcp'\]"):
            tractor.find_actor("child", enable_transports="tcp")
        await nursery.cancel()


async def test_parent_and_child_talk_over_what_both_have(tls: TLSConfig, path: str) -> None:
    async with tractor.open_nursery(
        registry_addrs=["tls://127.0.0.1:0"], bind_addrs=["tcp://127.0.0.1:0", f"uds://{path}"], tls=tls
    ) as nursery:
        for chosen, used in ((None, "uds"), (["tls"], "tls"), (["tls", "tcp"], "tcp")):
            child = await nursery.start_actor(f"child-{used}", enable_transports=chosen)
            assert child.chan.raddr.scheme == used
        await nursery.cancel()


async def test_an_address_that_nobody_answers_is_passed_over(tls: TLSConfig) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and does not listen
        nobody = f"tcp://127.0.0.1:{bound.getsockname()[1]}"
        async with tractor.open_nursery(registry_addrs=["tls://127.0.0.1:0"], tls=tls) as nursery:
            target = await nursery.start_actor("target", enable_modules=MODULES)
            asker = await nursery.start_actor("asker", enable_modules=MODULES)
            _prepend(target, nobody)
            assert await asker.run(several_endpoints.scheme_to, "target") == "tls"
            # The registrar was told, and has seen for itself.
            while nobody in _registered("target"):
                await trio.sleep(0.01)
            await nursery.cancel()


async def test_another_actor_at_an_address_is_not_taken_for_the_one_wanted(tls: TLSConfig) -> None:
    """What a loopback address of another host leads to here."""
    async with tractor.open_nursery(
        registry_addrs=["tls://127.0.0.1:0"], bind_addrs=["tcp://127.0.0.1:0"], tls=tls
    ) as nursery:
        target = await nursery.start_actor("target", enable_modules=MODULES, enable_transports=["tls"])
        asker = await nursery.start_actor("asker", enable_modules=MODULES)
        (root_tcp,) = (a.url for a in tractor.current_actor().accept_addrs if a.scheme == "tcp")
        _prepend(target, root_tcp)
        assert await asker.run(several_endpoints.scheme_to, "target") == "tls"
        await nursery.cancel()


async def test_one_without_certificates_takes_what_it_can_reach(tls: TLSConfig) -> None:
    async with tractor.open_nursery(registry_addrs=["tcp://127.0.0.1:0"], tls=tls) as nursery:
        await nursery.start_actor("far", enable_modules=MODULES, bind_addrs=["tls://127.0.0.1:0"])
        near = await nursery.start_actor("near", enable_modules=MODULES, bind_addrs=SEVERAL)
        (over_tcp,) = (url for url in await near.run(several_endpoints.addresses) if url.startswith("tcp"))
        # Before what it can reach, an address that it would need certificates for.
        _registrar().register(near.chan.aid, [*_registered("far"), *reversed(_registered("near"))], near.chan)
        tractor.current_actor().tls = None
        async with tractor.find_actor("near", only_first=False) as (found,):
            assert found.chan.raddr.url == over_tcp
        async with tractor.find_actor("far", only_first=False) as none:
            assert none == []
        # What is missing is missing here: nobody was told that these do not answer.
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert len(_registered("far")) == 1
        assert len(_registered("near")) == 3
        await nursery.cancel()


async def test_wildcards_are_told_as_what_can_be_dialled() -> None:
    async with tractor.open_nursery(
        registry_addrs=["tcp://0.0.0.0:0"], bind_addrs=["tcp://[::]:0"], auth_key=b"0123456789abcdef"
    ) as nursery:
        child = await nursery.start_actor("child", enable_modules=MODULES, bind_addrs=["tcp://0.0.0.0:0"])
        for url in await child.run(several_endpoints.addresses):
            assert "0.0.0.0" not in url and "advertise" not in url
            async with tractor.open_portal(url) as portal:
                assert portal.chan.aid.uid == child.chan.aid.uid
        asker = await nursery.start_actor("asker", enable_modules=MODULES)
        assert await asker.run(several_endpoints.scheme_to, "child") == "tcp"
        own = tractor.current_actor().accept_addrs[0]
        async with tractor.get_registry(msgspec.structs.replace(own, params=())) as registry:
            assert not isinstance(registry, tractor.Portal)
        await nursery.cancel()


def _registrar() -> Registrar:
    registrar = tractor.current_actor().room(RegistryLink).local
    assert registrar is not None
    return registrar


def _prepend(portal: tractor.Portal, url: str) -> None:
    """List one more address of an actor, before its own."""
    registrar = _registrar()
    aid = portal.chan.aid
    (entry,) = (entry for entry in registrar.find(aid.name) if entry.uuid == aid.uuid)
    registrar.register(aid, [url, *entry.addresses], portal.chan)


def _registered(name: str) -> list[str]:
    (entry,) = _registrar().find(name)
    return entry.addresses
