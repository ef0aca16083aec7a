"""Orphans end, whatever they are doing and whatever has become of who should have told them.

The times allowed are what is promised, two seconds, plus what a busy machine takes.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import trio
from orphan_tools import METHODS, children, program, read, send, template_of
from tools import need

#: Seconds; see the module.
ALLOWED = 6.0

pytestmark = pytest.mark.limit(60)

every_method = pytest.mark.parametrize("method", METHODS)


async def stop(pid: int) -> None:
    send(pid, signal.SIGSTOP)
    while b") T " not in read(pid, "stat"):
        await trio.sleep(0.01)


async def ended(pid: int) -> None:
    """Wait until it is a zombie, or reaped: those whose parent it was have been signalled by then."""
    while (state := read(pid, "stat").rpartition(b")")[2].split()[:1]) and state[0] not in (b"Z", b"X"):
        await trio.sleep(0.01)


# -- stopped, or in C --------------------------------------------------------------------------


@every_method
async def test_a_tree_that_is_stopped_from_the_leaf_up(method: str) -> None:
    with program("pair", method) as running:
        root, middle, leaf = (await running.says())["pids"]
        for pid in (leaf, middle, root):
            await stop(pid)
        send(root, signal.SIGKILL)
        await running.gone(ALLOWED)


async def test_a_stopped_actor_whose_template_died_before_its_owner() -> None:
    with program("pair", "forkserver") as running:
        root, middle, leaf = (await running.says())["pids"]
        templates = [template_of(root), template_of(middle)]
        for pid in templates:
            send(pid, signal.SIGKILL)
        # The death of the template wakes; only after it is there nobody left to do so.
        for pid in templates:
            await ended(pid)
        await stop(leaf)
        await stop(middle)
        send(root, signal.SIGKILL)
        await running.gone(ALLOWED)


@every_method
async def test_an_actor_in_c_that_ignores_hangups(method: str) -> None:
    """Under nohup the alarm is a longer one."""
    with program("in_c", method, first=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)) as running:
        root, computing = (await running.says())["pids"]
        for pid in (computing, root):
            send(pid, signal.SIGHUP)
        await trio.sleep(1.5)
        assert {root, computing} <= set(running.left()), "a hangup ended what was to survive it"
        send(root, signal.SIGKILL)
        await running.gone(ALLOWED + 5)


# -- while spawning ----------------------------------------------------------------------------


@every_method
@pytest.mark.parametrize("moment", ["before bootstrap", "after bootstrap"])
async def test_a_parent_that_dies_spawning(method: str, moment: str, tmp_path: Path) -> None:
    environment = {"ORPHANS_ARMED": str(tmp_path / "armed")}
    with program("dies_spawning", method, moment, environment=environment) as running:
        await running.says()
        assert await trio.to_thread.run_sync(running.process.wait) == -signal.SIGKILL
        assert (tmp_path / "armed").exists(), "it died before it had anything to die of"
        await running.gone(ALLOWED)


@every_method
async def test_a_parent_that_dies_while_its_actor_imports(method: str, tmp_path: Path) -> None:
    environment = {"ORPHANS_ARMED": str(tmp_path / "armed")}
    with program("dies_spawning", method, "before ready", environment=environment) as running:
        await running.says()
        assert await trio.to_thread.run_sync(running.process.wait) == -signal.SIGKILL
        await running.gone(ALLOWED)


async def test_a_parent_that_dies_while_its_template_imports(tmp_path: Path) -> None:
    environment = {"ORPHANS_ARMED": str(tmp_path / "armed")}
    with program("dies_spawning", "forkserver", "template imports", environment=environment) as running:
        await running.says()
        assert await trio.to_thread.run_sync(running.process.wait) == -signal.SIGKILL
        await running.gone(ALLOWED)


# -- who is whose parent -----------------------------------------------------------------------


@every_method
async def test_a_daemonised_root(method: str) -> None:
    """It is an orphan itself, and that is no reason for its actors to end, nor for them to outlive it."""
    with program("daemonised", method) as running:
        root, middle, leaf = (await running.says())["pids"]
        assert running.process.wait() == 0
        assert b"PPid:\t%d\n" % running.process.pid not in read(root, "status")
        await trio.sleep(1.5)
        assert {root, middle, leaf} <= set(running.left())
        send(root, signal.SIGKILL)
        await running.gone(ALLOWED)


@every_method
async def test_a_forked_copy_of_the_parent_is_no_parent(method: str) -> None:
    with program("forks", method) as running:
        root, actor, copy = (await running.says())["pids"]
        send(root, signal.SIGKILL)
        with trio.fail_after(ALLOWED):
            while set(running.left()) & {root, actor}:
                await trio.sleep(0.01)
        assert copy in running.left()
        send(copy, signal.SIGKILL)
        await running.gone(ALLOWED)


@every_method
async def test_process_1_of_a_container(method: str) -> None:
    unshare = need("unshare", package="util-linux")
    command = (unshare, "--pid", "--fork", "--kill-child", "--mount-proc")
    with program("init", method, command=command) as running:
        assert (await running.says())["leaf"] > 1
        assert "SIGKILL" in (await running.says())["status"]
        assert await running.says() == {"left": [], "own": 7}
        assert await trio.to_thread.run_sync(running.process.wait) == 0


@every_method
async def test_a_container_that_is_killed(method: str) -> None:
    unshare = need("unshare", package="util-linux")
    with program("pair", method, command=(unshare, "--pid", "--fork", "--mount-proc")) as running:
        await running.says()
        (first,) = children(running.process.pid)
        send(first, signal.SIGKILL)
        await running.gone(ALLOWED)


# -- the ladder --------------------------------------------------------------------------------


@every_method
async def test_an_actor_that_acknowledges_and_then_blocks(method: str) -> None:
    """With SIGTERM ignored, and an actor below it: up to the last rung, and no further."""
    with program("ladder", method) as running:
        facts = await running.says()
        assert facts["left"] == []
        assert facts["took"] < 5.0
        assert await trio.to_thread.run_sync(running.process.wait) == 0
        await running.gone(ALLOWED)
