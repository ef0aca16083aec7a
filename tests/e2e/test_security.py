"""Who may call, who may cancel, and where the key is kept: whole programs over real sockets."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import meeting_endpoints as endpoints
import pytest
from daemons import daemon

import tractor_core as tractor
from tractor_core.errors import AuthenticationFailed
from tractor_core.ipc.cookie import derive_key, load_key

ENDPOINTS = "meeting_endpoints"
KEY = "correct-horse-battery-staple"
#: What proves a peer in place of the cookie, by scheme.
PROVED_BY = {"uds": "peercred", "zmq+ipc": "peercred", "tls": "certificate"}
WRONG = "incorrect-horse-battery-staple"


# -- another key -----------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [WRONG, None], ids=["another key", "the cookie"])
async def test_a_program_with_another_key_can_neither_call_nor_cancel(registry: str, key: str | None) -> None:
    """Over unix sockets too, although the kernel says that it is the same user."""
    async with daemon(registry, auth_key=KEY) as program:
        async with tractor.open_root_actor(registry_addrs=["mem://mine"], auth_key=key):
            with pytest.raises(AuthenticationFailed, match="refused this actor") as caught:
                async with tractor.open_portal(registry) as portal:
                    await portal.cancel_actor()
            assert registry in str(caught.value)
            with pytest.raises(AuthenticationFailed):
                async with tractor.find_actor("daemon", registry_addrs=[registry]):
                    pytest.fail("it was told")
        with pytest.raises(AuthenticationFailed):
            async with tractor.open_portal(registry, auth_key=key):
                pytest.fail("it is in")
        with pytest.raises(RuntimeError, match="another key answers at"):
            async with tractor.open_root_actor(registry_addrs=[registry], auth_key=key):
                pytest.fail("it has joined")
        async with tractor.open_portal(registry, auth_key=KEY) as portal:
            assert await portal.run(endpoints.pid) == program.pid
        assert any("refused peer" in line for line in program.errors())


async def test_a_client_with_a_key_of_its_own_does_not_trust_who_has_the_cookie_only(registry: str) -> None:
    async with daemon(registry) as program:
        with pytest.raises(AuthenticationFailed):
            async with tractor.open_portal(registry, auth_key=KEY):
                pytest.fail("it is in")
        async with tractor.open_portal(registry) as portal:
            assert await portal.run(endpoints.pid) == program.pid


async def test_who_holds_the_key_may_cancel(registry: str) -> None:
    async with daemon(registry, auth_key=KEY) as program:
        async with tractor.open_portal(registry, auth_key=KEY) as portal:
            assert await portal.cancel_actor()
        assert await program.ended() == 0


# -- where keys come from --------------------------------------------------------------------------


async def test_programs_of_one_user_meet_through_the_cookie(one_registry: str) -> None:
    async with daemon(one_registry) as program:
        async with tractor.open_root_actor(registry_addrs=[one_registry]) as root:
            async with tractor.find_actor("daemon", raise_on_none=True) as portal:
                assert portal is not None
                assert await portal.run(endpoints.pid) == program.pid
                assert portal.chan.peer.method == PROVED_BY.get(scheme_of(one_registry), "key")
            assert not root.identity.key_explicit
    [cookie] = Path(os.environ["XDG_CONFIG_HOME"]).rglob("cookie")
    assert stat.S_IMODE(cookie.stat().st_mode) == 0o600
    assert stat.S_IMODE(cookie.parent.stat().st_mode) & 0o077 == 0


async def test_a_program_with_another_cookie_is_a_stranger(one_registry: str, tmp_path: Path) -> None:
    """Unless the kernel or a certificate vouches for it: either takes the cookie's place."""
    async with daemon(one_registry) as program:
        async with tractor.open_root_actor(registry_addrs=["mem://mine"]):
            pass
        other = dict(os.environ, XDG_CONFIG_HOME=str(tmp_path))
        key, explicit = load_key(None, other)
        assert not explicit and key != load_key(None, os.environ)[0]
        vouched_for = scheme_of(one_registry) in ("uds", "tls")
        assert _call_elsewhere(one_registry, other) == (
            str(program.pid) if vouched_for else "AuthenticationFailed"
        )
        assert _call_elsewhere(one_registry, dict(os.environ)) == str(program.pid)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o620, 0o604])
async def test_a_cookie_that_others_can_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    load_key(None, os.environ)
    [cookie] = tmp_path.rglob("cookie")
    cookie.chmod(mode)
    with pytest.raises(PermissionError, match=str(cookie)) as caught:
        async with tractor.open_root_actor(registry_addrs=["mem://mine"]):
            pytest.fail("it runs")
    assert f"{mode:04o}"[-3:] in str(caught.value)
    with pytest.raises(PermissionError, match=str(cookie)):
        async with tractor.open_portal("mem://mine"):
            pytest.fail("it dials")


async def test_a_key_file_named_in_the_environment(
    registry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_file = tmp_path / "key"
    key_file.write_text(KEY + "\n")
    key_file.chmod(0o600)
    async with daemon(registry, key=KEY, environment={"TRACTOR_AUTH_KEY_FILE": str(key_file)}) as program:
        with pytest.raises(AuthenticationFailed):
            async with tractor.open_portal(registry):
                pytest.fail("it is in")
        monkeypatch.setenv("TRACTOR_AUTH_KEY_FILE", str(key_file))
        async with tractor.open_nursery(registry_addrs=[registry]) as nursery:
            child = await nursery.start_actor("child", enable_modules=[ENDPOINTS])
            assert await child.run(endpoints.find, "daemon") == program.pid
            await nursery.cancel()


async def test_children_get_the_key_but_not_where_others_can_see_it(registry: str) -> None:
    secrets = {
        "the key as given": KEY.encode(),
        "the key": derive_key(KEY.encode(), "test"),
        "the key in hexadecimal": derive_key(KEY.encode(), "test").hex().encode(),
    }
    async with tractor.open_nursery(registry_addrs=[registry], auth_key=KEY) as nursery:
        child = await nursery.start_actor("child", enable_modules=[ENDPOINTS])
        pid = await child.run(endpoints.pid)
        # It holds the key: it demands it of whoever dials.
        async with tractor.query_actor("child") as (address, _):
            assert address is not None
        async with tractor.open_portal(address, auth_key=KEY) as portal:
            assert await portal.run(endpoints.pid) == pid
            assert portal.chan.peer.method == "key"
        for place in ("environ", "cmdline", "comm"):
            contents = Path(f"/proc/{pid}/{place}").read_bytes()
            for what, secret in secrets.items():
                assert secret not in contents, f"{what} is in {place}"
        await nursery.cancel()


# -- namespace "self" ------------------------------------------------------------------------------


async def test_the_runtime_serves_a_fixed_list_and_nothing_else(registry: str) -> None:
    async with daemon(registry) as program:
        async with tractor.open_nursery(registry_addrs=[registry]) as nursery:
            child = await nursery.start_actor("child", enable_modules=[ENDPOINTS])
            async with tractor.get_registry() as registrar:
                assert isinstance(registrar, tractor.Portal)
                for portal, served in (
                    (registrar, "find, list, refused, register, status, unregister, wait, watch"),
                    (child, "status"),
                ):
                    for name in ("cancel", "_cancel_task", "__class__", "exposed", "", "status.x", "os"):
                        with pytest.raises(tractor.ModuleNotExposed, match=rf"\(it serves: {served}\)"):
                            await portal.run_from_ns("self", name)
                    status = await portal.run_from_ns("self", "status")
                    assert status["pid"] in (program.pid, await child.run(endpoints.pid))
                    assert "key" not in str(status)
                with pytest.raises(tractor.RemoteActorError):
                    await registrar.run_from_ns("self", "find", nome="daemon")
                with pytest.raises(tractor.RemoteActorError, match="of kind context"):
                    await registrar.run_from_ns("self", "watch")
                assert len(await registrar.run_from_ns("self", "find", name="daemon")) == 1
            await nursery.cancel()


async def test_only_what_is_exposed_is_called(registry: str) -> None:
    async with daemon(registry):
        async with tractor.open_portal(registry) as portal:
            for module, name in (
                ("os", "getpid"),
                ("builtins", "eval"),
                ("subprocess", "Popen"),
                (ENDPOINTS, "os"),
                (ENDPOINTS, "trio"),
                (ENDPOINTS, "whoami.__globals__"),
                ("tractor_core", "open_root_actor"),
                ("", ""),
            ):
                with pytest.raises(tractor.ModuleNotExposed):
                    await portal.run_from_ns(module, name)
            assert await portal.run(endpoints.whoami) == "daemon"


def scheme_of(url: str) -> str:
    return url.partition(":")[0]


def _call_elsewhere(registry: str, environment: dict[str, str]) -> str:
    """What a program with that environment gets when it calls: the daemon's pid, or the error's name."""
    program = f"""
import sys, trio, tractor_core as tractor
sys.path.insert(0, {str(Path(__file__).parent)!r})
import meeting_endpoints

async def main():
    try:
        async with tractor.open_portal({registry!r}) as portal:
            print(await portal.run(meeting_endpoints.pid))
    except Exception as error:
        print(type(error).__name__)

trio.run(main)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    return done.stdout.strip()
