"""Lifelines between real processes, and the subtree guard."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

import pytest
import trio

from tractor_core.supervision.lifeline import (
    ORPHANED_EXIT_CODE,
    Lifeline,
    SubtreeGuard,
    guard_descriptors,
    inherited_guards,
    inherited_lifelines,
    is_orphaned,
    lifeline_descriptors,
)

#: Watches the lifeline given as its first argument, says what happens, and starts a level below
#: itself when the second argument says so.
ACTOR = textwrap.dedent(
    """
    import os, subprocess, sys, time
    from tractor_core.app.death_signal import request_death_signal
    from tractor_core.supervision.lifeline import Lifeline, watch_parent

    depth, grace, output, spawner, *lifelines = map(int, sys.argv[2:])
    assert request_death_signal(spawner)
    registry = Lifeline()
    def say(what):
        os.write(output, f"{depth} {what}\\n".encode())
    watch_parent(*lifelines, registry=registry, on_orphaned=lambda: say("orphaned"), grace=grace / 10)
    children = []
    for _ in range(depth):
        read_end, handle = registry.open()
        child = subprocess.Popen(
            [sys.executable, "-c", sys.argv[1], sys.argv[1],
             *map(str, (depth - 1, grace, output, os.getpid(), read_end, *lifelines))],
            pass_fds=(read_end, *lifelines, output),
        )
        handle.attach(child.pid)
        os.close(read_end)
        children.append(child)
        break
    say(f"pid {os.getpid()}")
    while True:
        time.sleep(60)
    """
)


class Tree:
    """A chain of processes, the first of them this process's child."""

    def __init__(self, depth: int, grace_tenths: int = 2) -> None:
        self.registry = Lifeline()
        read_end, self.handle = self.registry.open()
        self.output, output_end = os.pipe()
        arguments = map(str, (depth, grace_tenths, output_end, os.getpid(), read_end))
        self.process = subprocess.Popen(
            [sys.executable, "-c", ACTOR, ACTOR, *arguments], pass_fds=(read_end, output_end)
        )
        self.handle.attach(self.process.pid)
        os.close(read_end)
        os.close(output_end)
        self.lines: list[str] = []
        self.pids: dict[int, int] = {}
        while len(self.pids) < depth + 1:
            self._read()

    def _read(self) -> bool:
        data = os.read(self.output, 4096)
        for line in data.decode().splitlines():
            self.lines.append(line)
            level, what, *pid = line.split()
            if what == "pid":
                self.pids[int(level)] = int(pid[0])
        return bool(data)

    def finish(self) -> None:
        """Wait until every process of it has ended: they all hold the pipe's write end."""
        while self._read():
            pass
        os.close(self.output)
        self.process.wait()
        self.handle.close()


def test_every_level_learns_of_the_end_and_ends() -> None:
    tree = Tree(depth=2)
    tree.registry.close_all()
    tree.finish()
    assert {"2 orphaned", "1 orphaned", "0 orphaned"} <= set(tree.lines)
    assert tree.process.returncode == ORPHANED_EXIT_CODE


def test_a_killed_actor_takes_its_subtree_along() -> None:
    tree = Tree(depth=2)
    os.kill(tree.pids[1], signal.SIGKILL)
    # Level 0 is gone before anything else happens: its parent's death is all it needs.
    while "0 orphaned" not in tree.lines:
        tree._read()
    tree.registry.close_all()
    tree.finish()
    assert "1 orphaned" not in tree.lines


def test_stopped_children_are_woken_to_end() -> None:
    tree = Tree(depth=1)
    for pid in tree.pids.values():
        os.kill(pid, signal.SIGSTOP)
    tree.registry.close_all()
    tree.finish()
    assert {"1 orphaned", "0 orphaned"} <= set(tree.lines)


@pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is Linux's")
def test_a_stopped_orphan_is_woken_by_the_kernel() -> None:
    tree = Tree(depth=1)
    os.kill(tree.pids[0], signal.SIGSTOP)
    tree.process.kill()
    tree.finish()
    assert "0 orphaned" in tree.lines
    assert tree.process.returncode == -signal.SIGKILL


def test_no_lifeline_is_opened_after_the_end() -> None:
    registry = Lifeline()
    read_end, handle = registry.open()
    assert not os.get_inheritable(read_end)
    registry.close_all()
    assert os.read(read_end, 1) == b""
    os.close(read_end)
    handle.close()
    registry.close_all()
    with pytest.raises(RuntimeError, match="no more children"):
        registry.open()


def test_a_closed_handle_wakes_nobody() -> None:
    registry = Lifeline()
    read_end, handle = registry.open()
    os.close(read_end)
    handle.attach(os.getpid())
    woken: list[int] = []
    previous = signal.signal(signal.SIGCONT, lambda number, frame: woken.append(number))
    try:
        handle.close()
        registry.close_all()
        assert not woken
    finally:
        signal.signal(signal.SIGCONT, previous)


def leave_one_behind(descriptors: tuple[int, ...]) -> tuple[subprocess.Popen[bytes], int]:
    """A child that ends at once; its own child stays until the descriptor returned is closed."""
    source = "import subprocess, sys; subprocess.Popen(['cat'], close_fds=False)"
    hold, hold_end = os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", source],
        stdin=hold,
        stdout=subprocess.DEVNULL,
        pass_fds=descriptors,
    )
    os.close(hold)
    return child, hold_end


async def test_the_guard_waits_for_the_last_of_a_subtree() -> None:
    guard = SubtreeGuard()
    inner = SubtreeGuard()
    names = guard_descriptors((guard.write_end,), inner)
    assert names == {"subtree.0": guard.write_end, "subtree.1": inner.write_end}
    assert inherited_guards({"lifeline": 99, **names}) == (guard.write_end, inner.write_end)

    child, hold_end = leave_one_behind(tuple(names.values()))
    guard.spawned()
    inner.spawned()
    child.wait()
    assert not await inner.wait_gone(0.01)
    os.close(hold_end)
    assert await inner.wait_gone(20)
    assert await guard.wait_gone(20)
    with pytest.raises(RuntimeError, match="already spawned"):
        _ = guard.write_end
    for each in (guard, inner):
        each.close()
        each.close()
        with pytest.raises(trio.ClosedResourceError):
            await each.wait_gone(1)


def test_lifelines_are_passed_on_by_name() -> None:
    names = lifeline_descriptors((7, 5), 9)
    assert names == {"lifeline": 9, "lifeline.0": 7, "lifeline.1": 5}
    assert inherited_lifelines({"subtree.0": 3, **names}) == (9, 7, 5)
    assert inherited_lifelines({}) == ()


def test_the_end_of_any_lifeline_makes_an_orphan() -> None:
    near, far = Lifeline(), Lifeline()
    (near_end, near_handle), (far_end, far_handle) = near.open(), far.open()
    assert not is_orphaned((near_end, far_end))
    far_handle.close()
    assert is_orphaned((near_end, far_end))
    assert not is_orphaned((near_end,))
    near_handle.close()
    for descriptor in (near_end, far_end):
        os.close(descriptor)
