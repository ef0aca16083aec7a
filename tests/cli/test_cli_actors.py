"""``tractor-core status`` and ``tractor-core ps``, asked of trees that run."""

from __future__ import annotations

import json
import math
import os
import signal
from pathlib import Path

import pytest
import trustme
from commands import run, run_async

import tractor_core as tractor
from tractor_core.discovery.link import RegistryLink

KEY = "an explicit key of the tree"


async def test_the_status_of_an_actor(registry: str) -> None:
    async with tractor.open_nursery(registry_addrs=[registry]) as nursery:
        child = await nursery.start_actor("child")
        finished = await run_async("status", child.chan.raddr.url, "--json")
        if finished.returncode:
            finished = await run_async("status", await address_of("child"), "--json")
        answer = json.loads(finished.stdout)
        assert (answer["name"], answer["uuid"]) == child.chan.aid.uid
        assert answer["is_registrar"] is False and answer["cancel_called"] is False
        assert answer["registry"] == [a.advertised.url for a in tractor.current_actor().reg_addrs]
        shown = await run_async("status", registry)
        assert shown.returncode == 0
        assert "root" in shown.stdout and registry in shown.stdout
        await nursery.cancel()


async def address_of(name: str) -> str:
    async with tractor.query_actor(name) as (address, _):
        assert address is not None
        return address.url


async def test_the_actors_of_a_registry_asked_of_any_member(registry: str) -> None:
    async with tractor.open_nursery(registry_addrs=[registry]) as nursery:
        portals = [await nursery.start_actor(f"child-{index}") for index in range(3)]
        for url in (registry, await address_of("child-1")):
            finished = await run_async("ps", url, "--json")
            assert finished.returncode == 0, finished.stderr
            rows = json.loads(finished.stdout)
            # The newest first.
            assert [row["name"] for row in rows] == ["child-2", "child-1", "child-0", "root"]
            assert [row["pid"] for row in rows[:3]] == [p.chan.aid.pid for p in reversed(portals)]
            assert rows[3]["pid"] == os.getpid()
            assert {row["state"] for row in rows} == {"running"}
            assert all(row["addresses"] and row["channels"] >= 1 for row in rows)
        shown = await run_async("ps", registry)
        assert len(shown.stdout.splitlines()) == 5
        assert "child-2" in shown.stdout and portals[2].chan.aid.uuid in shown.stdout
        await nursery.cancel()


async def test_an_actor_that_does_not_answer_is_listed_with_the_reason(registry: str) -> None:
    # However long the command takes, a stopped child is not given up meanwhile.
    policy = tractor.TeardownPolicy(stopped=math.inf)
    async with tractor.open_nursery(registry_addrs=[registry], policy=policy) as nursery:
        stopped = await nursery.start_actor("stopped")
        os.kill(stopped.chan.aid.pid, signal.SIGSTOP)
        try:
            finished = await run_async("ps", registry, "--json", "--timeout", "2.5")
        finally:
            os.kill(stopped.chan.aid.pid, signal.SIGCONT)
        assert finished.returncode == 0, finished.stderr
        rows = {row["name"]: row for row in json.loads(finished.stdout)}
        assert rows["root"]["state"] == "running"
        assert rows["stopped"]["state"] == "unreachable" and rows["stopped"]["pid"] is None
        assert "within 2.5 s" in rows["stopped"]["error"]
        await nursery.cancel()


async def test_an_address_that_leads_to_another_actor(registry: str) -> None:
    async with tractor.open_nursery(registry_addrs=[registry]) as nursery:
        child = await nursery.start_actor("child")
        registrar = tractor.current_actor().room(RegistryLink).local
        assert registrar is not None
        registrar.register(child.chan.aid, [registry], child.chan)
        rows = json.loads((await run_async("ps", registry, "--json")).stdout)
        assert [row["state"] for row in rows] == ["unreachable", "running"]
        assert rows[0]["error"] == f"another actor is at {registry}"
        await nursery.cancel()


async def test_the_key_of_the_tree_is_needed(tmp_path: Path, free_tcp_registry: str) -> None:
    file = tmp_path / "key"
    file.touch(0o600)
    file.write_text(KEY)
    async with tractor.open_root_actor(registry_addrs=[free_tcp_registry], auth_key=KEY):
        refused = await run_async("ps", free_tcp_registry)
        assert refused.returncode == 1
        assert "refused" in refused.stderr and "Traceback" not in refused.stderr
        assert refused.stdout == ""
        admitted = await run_async("ps", free_tcp_registry, TRACTOR_AUTH_KEY_FILE=str(file))
        assert admitted.returncode == 0, admitted.stderr


async def test_over_tls_with_certificates_from_the_environment(tmp_path: Path) -> None:
    authority = trustme.CA()
    leaf = authority.issue_cert("127.0.0.1")
    paths = {name: str(tmp_path / f"{name}.pem") for name in ("CERT", "KEY", "CA")}
    leaf.cert_chain_pems[0].write_to_path(paths["CERT"])
    leaf.private_key_pem.write_to_path(paths["KEY"])
    authority.cert_pem.write_to_path(paths["CA"])
    environment = {f"TRACTOR_TLS_{name}": path for name, path in paths.items()}
    tls = tractor.TLSConfig(paths["CERT"], paths["KEY"], paths["CA"])
    async with tractor.open_root_actor(registry_addrs=["tls://127.0.0.1:0"], tls=tls) as root:
        finished = await run_async("ps", root.accept_addrs[0].url, "--json", **environment)
        assert [row["name"] for row in json.loads(finished.stdout)] == ["root"]


@pytest.mark.parametrize("command", ["ps", "status"])
@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("tcp://127.0.0.1:1", "127.0.0.1:1"),
        ("127.0.0.1:1616", "address"),
        ("tcp://127.0.0.1", "no port"),
        ("pigeon://loft", "unknown transport scheme 'pigeon'"),
        ("tls://127.0.0.1:1", "TRACTOR_TLS_CERT"),
    ],
)
def test_what_cannot_be_asked_is_one_line(command: str, url: str, says: str) -> None:
    finished = run(command, url)
    assert finished.returncode == 1
    (line,) = finished.stderr.splitlines()
    assert says in line
