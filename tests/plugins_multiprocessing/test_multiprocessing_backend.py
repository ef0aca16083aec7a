"""What the multiprocessing backend promises beyond the kit, and what a root that is killed leaves behind."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import trio
from test_trees_by_method import descendants, is_alive

SCRIPT = """\
import os, sys, time, trio
import tractor_core as tractor

print("loaded", __name__, flush=True)

async def whose() -> list:
    import multiprocessing
    parent = multiprocessing.parent_process()
    return [__name__, multiprocessing.current_process().name, parent is not None and parent.is_alive()]

async def main():
    async with tractor.open_nursery(registry_addrs=[sys.argv[1]], start_method=sys.argv[2]) as nursery:
        portal = await nursery.start_actor("worker", enable_modules=[__name__])
        print("in", *await portal.run(whose), flush=True)
        if sys.argv[3:] == ["stay"]:
            print("up", flush=True)
            time.sleep(3600)
        await nursery.cancel()

if __name__ == "__main__":
    trio.run(main)
"""


@pytest.fixture
def script(tmp_path: Path) -> str:
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(SCRIPT))
    return str(path)


async def test_the_main_module_is_run_once_and_only_by_the_actors_boot(
    script: str, free_tcp_registry: str
) -> None:
    result = await trio.run_process(
        [sys.executable, script, free_tcp_registry, "multiprocessing"], capture_stdout=True
    )
    assert result.stdout.decode().splitlines() == [
        "loaded __main__",
        "loaded __mp_main__",
        "in __mp_main__ worker True",
    ]


@pytest.mark.parametrize("method", ["multiprocessing", "forkserver"])
async def test_nothing_outlives_a_killed_root(script: str, free_tcp_registry: str, method: str) -> None:
    """Neither the actor, nor the template, nor the standard library's resource tracker."""
    root = subprocess.Popen(
        [sys.executable, script, free_tcp_registry, method, "stay"], stdout=subprocess.PIPE
    )
    try:
        assert root.stdout is not None
        with root.stdout:
            while await trio.to_thread.run_sync(root.stdout.readline) not in (b"up\n", b""):
                pass
        below = descendants(root.pid)
    finally:
        root.kill()
        root.wait()
    assert len(below) == 2, below
    with trio.fail_after(5):
        while any(map(is_alive, below)):
            await trio.sleep(0.02)
