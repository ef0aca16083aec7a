"""``run_daemon`` and programs at a terminal: what signals do to them, and to what they started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from programs import endpoints
from programs.kill_matrix import HERE, alive

import tractor_core as tractor


@asynccontextmanager
async def program(*arguments: str) -> AsyncIterator[subprocess.Popen[bytes]]:
    """A program in a session of its own, as at a terminal."""
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=HERE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


async def output_of(process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    """How it ended, and what it printed."""
    out, err = await trio.to_thread.run_sync(process.communicate)
    return process.returncode, out.decode(), err.decode()


@asynccontextmanager
async def daemon(registry: str) -> AsyncIterator[tuple[subprocess.Popen[bytes], tractor.Portal]]:
    async with program("programs.daemon", registry) as process:
        while True:
            try:
                async with tractor.open_portal(registry) as portal:
                    yield process, portal
                return
            except ConnectionRefusedError:
                assert process.poll() is None, process.communicate()
                await trio.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_drains_a_daemon(number: signal.Signals, registry: str, tmp_path: Path) -> None:
    async with daemon(registry) as (process, portal):
        await portal.run(endpoints.touch_at_the_end, path=str(tmp_path / "ended"))
        async with trio.open_nursery() as tasks:
            tasks.start_soon(call_until_cancelled, portal, tmp_path)
            while not (tmp_path / "begun").exists():
                await trio.sleep(0.01)
            process.send_signal(number)
        assert await output_of(process) == (-number, "", "")
    assert {path.name for path in tmp_path.iterdir()} == {"begun", "ended", "left"}


async def call_until_cancelled(portal: tractor.Portal, place: Path) -> None:
    with pytest.raises(tractor.ContextCancelled) as caught:
        await portal.run(endpoints.touch_when_left, begun=str(place / "begun"), path=str(place / "left"))
    assert caught.value.canceller == portal.chan.aid.uid


async def test_a_daemon_cancelled_by_a_peer_returns(registry: str, tmp_path: Path) -> None:
    async with daemon(registry) as (process, portal):
        await portal.run(endpoints.touch_at_the_end, path=str(tmp_path / "ended"))
        assert await portal.cancel_actor()
        assert await output_of(process) == (0, "returned\n", "")
    assert (tmp_path / "ended").exists()


async def test_a_daemon_ends_the_children_of_its_endpoints(registry: str) -> None:
    async with daemon(registry) as (process, portal):
        with pytest.raises((tractor.ContextCancelled, tractor.TransportClosed)):
            async with portal.open_context(endpoints.subtree, depth=1, width=2, behaviour="idle") as (
                _,
                pids,
            ):
                process.terminate()
                await trio.sleep_forever()
        assert await output_of(process) == (-signal.SIGTERM, "", "")
    assert len(pids) == 3
    assert not [pid for pid in pids if alive(pid)]


@pytest.mark.parametrize("how", ["idle", "block", "boot"])
async def test_an_interrupt_at_the_terminal(how: str, registry: str) -> None:
    async with program("programs.interrupted", registry, how) as process:
        assert process.stdout is not None
        pids = json.loads(await trio.to_thread.run_sync(process.stdout.readline))
        if how == "boot":
            await trio.sleep(0.1)
        # A terminal sends it to all.
        os.killpg(process.pid, signal.SIGINT)
        status, out, err = await output_of(process)
    assert status == -signal.SIGINT
    assert out == "KeyboardInterrupt\nleft\n"
    assert err.count("Traceback (most recent call last)") == 1, err
    assert err.rstrip().endswith("KeyboardInterrupt"), err
    assert not [pid for pid in pids if alive(pid)]


async def test_children_that_boot_when_the_root_is_killed_say_nothing(one_registry: str) -> None:
    async with program("programs.interrupted", one_registry, "boot") as process:
        assert process.stdout is not None
        await trio.to_thread.run_sync(process.stdout.readline)
        await trio.sleep(0.08)
        process.kill()
        # At the end of file, for its children have the same stderr.
        assert await output_of(process) == (-signal.SIGKILL, "", "")
    # A socket file that it left is in nobody's way, and goes with the next who listens there.
    async with tractor.open_root_actor(registry_addrs=[one_registry], ensure_registry=True):
        pass
