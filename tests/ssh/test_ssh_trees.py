"""Actors on another host: the same nurseries, the same errors, and nobody left when anything dies.

The other host is this one, behind an SSH server on loopback.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import ssh_endpoints
import trio

import tractor_core as tractor
from tractor_core.seams import ExitStatus

if TYPE_CHECKING:
    # Not when it runs: where tests of several directories do, another's conftest has that name.
    from conftest import Server

Far = dict[str, Any]

#: Within so many seconds of the death of anybody above them actors are to be gone.
GONE_WITHIN = 2.0

MODULES = ["ssh_endpoints"]


async def test_calls_streams_and_errors(meeting: str, far: Far, tmp_path: Path) -> None:
    async with tractor.open_nursery(registry_addrs=[meeting]) as nursery:
        portal = await nursery.start_actor(
            "far",
            enable_modules=MODULES,
            proc_kwargs={"env": {"SAID": "ünï"}, "cwd": str(tmp_path)},
            **far,
        )
        facts = await portal.run(ssh_endpoints.facts)
        assert (facts["name"], facts["said"], facts["cwd"]) == ("far", "ünï", str(tmp_path))
        assert facts["connection"], "it was not started by an SSH server"
        async with portal.open_stream_from(ssh_endpoints.count, to=1000) as stream:
            assert [value async for value in stream] == list(range(1000))
        with pytest.raises(tractor.RemoteActorError) as caught:
            await portal.run(ssh_endpoints.fail)
        assert caught.value.boxed_type is LookupError
        assert caught.value.src_uid == portal.channel.aid.uid
        async with tractor.find_actor("far") as found:
            assert found is not None
            assert (await found.run(ssh_endpoints.facts))["pid"] == facts["pid"]
        await portal.cancel_actor()
    await all_gone([facts["pid"], facts["keeper"]])


async def test_an_error_over_there_ends_the_nursery(meeting: str, far: Far) -> None:
    with pytest.raises(tractor.RemoteActorError) as caught:
        async with tractor.open_nursery(registry_addrs=[meeting]) as nursery:
            await nursery.run_in_actor(ssh_endpoints.fail, **far)
            await trio.sleep_forever()
    assert caught.value.boxed_type is LookupError


async def test_cancellation_unwinds_over_there(meeting: str, far: Far, tmp_path: Path) -> None:
    left = tmp_path / "left"
    async with tractor.open_nursery(registry_addrs=[meeting]) as nursery:
        portal = await nursery.start_actor("far", enable_modules=MODULES, **far)
        with trio.CancelScope() as scope:
            async with portal.open_context(ssh_endpoints.wait_for_ever, path=str(left)) as (_, pid):
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert left.read_text() == "unwound"
        assert (await portal.run(ssh_endpoints.facts))["pid"] == pid, "only the dialog was to end"
        await portal.cancel_actor()
    await all_gone([pid])


async def test_a_cancelled_program_leaves_nobody_over_there(meeting: str, far: Far) -> None:
    with trio.CancelScope() as scope:
        async with tractor.open_nursery(registry_addrs=[meeting]) as nursery:
            portal = await nursery.start_actor("far", enable_modules=MODULES, **far)
            async with portal.open_context(ssh_endpoints.pair) as (_, pids):
                scope.cancel()
                await trio.sleep_forever()
    assert scope.cancelled_caught
    await all_gone(pids)


async def test_what_it_prints_arrives(meeting: str, far: Far, capfd: pytest.CaptureFixture[str]) -> None:
    async with tractor.open_nursery(registry_addrs=[meeting]) as nursery:
        portal = await nursery.start_actor("far", enable_modules=MODULES, **far)
        await portal.run(ssh_endpoints.say, out="to the one\n" * 5000, err="to the other")
        await portal.cancel_actor()
    out, err = capfd.readouterr()
    assert out.count("to the one") == 5000
    assert "to the other" in err


async def test_no_command_line_holds_a_secret(meeting: str, far: Far) -> None:
    key = "correct horse battery staple, 32 bytes"
    async with tractor.open_nursery(registry_addrs=[meeting], auth_key=key) as nursery:
        portal = await nursery.start_actor("far", enable_modules=MODULES, **far)
        seen = [*contents("cmdline"), *contents("environ")]
        await portal.cancel_actor()
    assert any(b"remote.py" in each or b"exec python" in each or b"-oBatchMode=yes" in each for each in seen)
    assert not any(key.encode() in each for each in seen)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
async def test_the_signal_that_killed_it_is_named(meeting: str, far: Far, number: signal.Signals) -> None:
    with pytest.raises(tractor.ActorDied, match=number.name) as caught:
        async with tractor.open_nursery(registry_addrs=[meeting]) as nursery:
            portal = await nursery.start_actor("far", enable_modules=MODULES, **far)
            await portal.run(ssh_endpoints.end_by, number=int(number))
    assert caught.value.exit_status == ExitStatus(signal=number)


async def test_its_exit_code_is_reported(meeting: str, far: Far) -> None:
    with pytest.raises(tractor.ActorDied, match="exit code 77") as caught:
        async with tractor.open_nursery(registry_addrs=[meeting]) as nursery:
            portal = await nursery.start_actor("far", enable_modules=MODULES, **far)
            await portal.run(ssh_endpoints.exit_with, code=77)
    assert caught.value.exit_status == ExitStatus(code=77)


async def test_one_that_ignores_everything_is_killed(meeting: str, far: Far) -> None:
    async with tractor.open_nursery(registry_addrs=[meeting]) as nursery:
        portal = await nursery.start_actor("far", enable_modules=MODULES, **far)
        pid = (await portal.run(ssh_endpoints.facts))["pid"]
        async with trio.open_nursery() as tasks:
            tasks.start_soon(_until_it_dies, portal)
            await until(lambda: ignores_sigterm(pid))
            started = trio.current_time()
            await nursery.cancel()
            took = trio.current_time() - started
        assert took < 5
    await all_gone([pid])


async def test_one_that_is_stopped_is_killed(meeting: str, far: Far) -> None:
    async with tractor.open_nursery(registry_addrs=[meeting]) as nursery:
        portal = await nursery.start_actor("far", enable_modules=MODULES, **far)
        pid = (await portal.run(ssh_endpoints.facts))["pid"]
        os.kill(pid, signal.SIGSTOP)
        with trio.fail_after(5):
            await nursery.cancel()
    await all_gone([pid])


@pytest.mark.parametrize("whom", ["server", "client", "proxy", "keeper"])
async def test_when_the_connection_dies_so_does_the_actor(
    meeting: str, far: Far, server: Server, whom: str
) -> None:
    before = set(server.sessions())
    with pytest.raises(tractor.ActorDied) as caught:
        async with tractor.open_nursery(registry_addrs=[meeting]) as nursery:
            portal = await nursery.start_actor("far", enable_modules=MODULES, **far)
            keeper = (await portal.run(ssh_endpoints.facts))["keeper"]
            async with portal.open_context(ssh_endpoints.pair) as (_, pids):
                victims = {
                    "server": [pid for pid in server.sessions() if pid not in before],
                    "client": children(children(os.getpid(), b"proxy.py")[0], b"-oBatchMode"),
                    "proxy": children(os.getpid(), b"proxy.py"),
                    "keeper": [keeper],
                }[whom]
                assert victims
                for victim in victims:
                    with suppress(ProcessLookupError):  # it ended with the one before
                        os.kill(victim, signal.SIGKILL)
                cut = time.monotonic()
                with trio.CancelScope(shield=True):  # the parent hears of it before they are gone
                    await all_gone(pids)
                took = time.monotonic() - cut
                await trio.sleep_forever()
    assert took < GONE_WITHIN
    if whom in ("server", "client"):
        assert "the SSH connection to 127.0.0.1 was lost" in str(caught.value)
        assert caught.value.exit_status.code == 255


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_when_the_parent_is_killed_nobody_over_there_stays(
    meeting: str, server: Server, distribution: Path, number: signal.Signals
) -> None:
    here = Path(__file__).parent
    program = subprocess.Popen(
        [sys.executable, here / "programs" / "ssh_parent.py", meeting, json.dumps(server.spawn_options)],
        env={**os.environ, "PYTHONPATH": f"{distribution}{os.pathsep}{here}"},
        stdout=subprocess.PIPE,
        text=True,
    )
    with program:
        assert program.stdout is not None
        pids = json.loads(await trio.to_thread.run_sync(program.stdout.readline))
        os.kill(program.pid, number)
        killed = time.monotonic()
        await all_gone(pids)
        assert time.monotonic() - killed < GONE_WITHIN
        await trio.to_thread.run_sync(program.wait)
    assert program.returncode == -number


async def test_nobody_listens_over_there(meeting: str, far: Far, unused_port: int) -> None:
    options = {**far["spawn_options"], "ssh_options": ["-F", "none", "-p", str(unused_port)]}
    with pytest.raises(tractor.ActorDied, match="the SSH connection to 127.0.0.1 was lost, or never made"):
        async with tractor.open_nursery(registry_addrs=[meeting]) as nursery:
            await nursery.start_actor("far", start_method="ssh", spawn_options=options)


async def test_no_python_over_there(meeting: str, far: Far) -> None:
    options = {**far["spawn_options"], "python": "/no/such/python"}
    with pytest.raises(tractor.ActorDied, match="exit code 127"):
        async with tractor.open_nursery(registry_addrs=[meeting]) as nursery:
            await nursery.start_actor("far", start_method="ssh", spawn_options=options)


async def test_no_ssh_client_here(meeting: str, far: Far, capfd: pytest.CaptureFixture[str]) -> None:
    options = {**far["spawn_options"], "ssh": "/no/such/ssh"}
    with pytest.raises(tractor.ActorDied, match="exit code 255"):
        async with tractor.open_nursery(registry_addrs=[meeting]) as nursery:
            await nursery.start_actor("far", start_method="ssh", spawn_options=options)
    assert "/no/such/ssh" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({}, "host"),
        ({"host": "-oProxyCommand=touch /tmp/owned"}, "is no host"),
        ({"host": "far", "prot": 22}, "no option prot; there is host, python"),
        ({"host": "far", "tunnel": "yes"}, r"\$\.tunnel"),
        ({"host": "far", "tunnel": False}, "the tunnel was declined"),
    ],
)
async def test_options_that_make_no_sense(
    meeting: str, far: Far, options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        async with tractor.open_nursery(registry_addrs=[meeting]) as nursery:
            await nursery.start_actor("far", start_method="ssh", spawn_options=options)


# -- helpers -----------------------------------------------------------------------------------


async def _until_it_dies(portal: tractor.Portal) -> None:
    with pytest.raises(tractor.TransportClosed):
        await portal.run(ssh_endpoints.block)


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(10):
        while not condition():
            await trio.sleep(0.01)


async def all_gone(pids: Iterable[int]) -> None:
    """Wait until none of these processes runs; one that only waits to be reaped does not."""
    await until(lambda: not any(runs(pid) for pid in pids))


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def ignores_sigterm(pid: int) -> bool:
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "SigIgn" in line)
    return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


def children(parent: int, marker: bytes) -> list[int]:
    """The children of a process whose command line holds ``marker``."""
    tasks = Path(f"/proc/{parent}/task").iterdir()
    found = [int(pid) for task in tasks for pid in contents_of(task / "children").split()]
    return [pid for pid in found if marker in contents_of(Path(f"/proc/{pid}/cmdline"))]


def contents_of(path: Path) -> bytes:
    """Nothing where the thread or the process has ended meanwhile."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def contents(name: str) -> Iterable[bytes]:
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit() and int(directory.name) != os.getpid():
            try:
                yield (directory / name).read_bytes()
            except OSError:
                continue  # gone meanwhile
