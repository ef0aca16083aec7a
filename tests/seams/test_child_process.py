"""ChildProcess: a child waited for with and without a pidfd. (The kit does the rest, with who uses it.)"""

from __future__ import annotations

import errno
import os
import signal
import sys

import pytest
import trio
import trio.testing

from tractor_core.seams import ChildProcess, ExitStatus


def start(program: str) -> ChildProcess:
    return ChildProcess(os.posix_spawn(sys.executable, [sys.executable, "-S", "-c", program], os.environ))


@pytest.fixture(params=["pidfd", "no pidfd", "none left"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    def refuse(pid: int) -> int:
        raise OSError(errno.EMFILE, "too many open files")

    if request.param == "no pidfd":
        monkeypatch.delattr(os, "pidfd_open", raising=False)
    elif request.param == "none left":
        monkeypatch.setattr(os, "pidfd_open", refuse, raising=False)
    return str(request.param)


async def test_many_wait_and_some_give_up(way: str) -> None:
    process = start("raise SystemExit(7)")
    statuses: list[ExitStatus] = []

    async def wait() -> None:
        statuses.append(await process.wait())

    with trio.CancelScope() as scope:
        scope.cancel()
        await process.wait()
    assert scope.cancelled_caught
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        nursery.start_soon(wait)
    assert statuses == [ExitStatus(code=7)] * 2
    assert process.poll() == ExitStatus(code=7)
    process.kill()


async def test_signals(way: str) -> None:
    for number, send in ((signal.SIGTERM, ChildProcess.terminate), (signal.SIGKILL, ChildProcess.kill)):
        process = start("import time; time.sleep(60)")
        with trio.move_on_after(0.01) as scope:
            await process.wait()
        assert scope.cancelled_caught
        send(process)
        assert await process.wait() == ExitStatus(signal=number)
        assert f"pid={process.pid}" in repr(process)


async def test_the_end_seen_by_poll_while_another_task_watches(way: str) -> None:
    process = start("raise SystemExit(4)")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(process.wait)
        await trio.testing.wait_all_tasks_blocked()
        assert process.pid is not None
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert process.poll() == ExitStatus(code=4)
    assert await process.wait() == ExitStatus(code=4)


async def test_reaped_by_somebody_else_it_has_ended_all_the_same(way: str) -> None:
    process = start("raise SystemExit(4)")
    assert process.pid is not None
    os.waitpid(process.pid, 0)
    assert await process.wait() == ExitStatus()
    assert str(process.poll()) == "exit status unknown"
