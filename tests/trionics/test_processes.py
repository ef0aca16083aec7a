"""Programs supervised as tasks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial

import pytest
import trio

from tractor_core.trionics import supervise_run_process


def python(source: str) -> list[str]:
    return [sys.executable, "-S", "-c", source]


async def test_it_is_handed_over_and_its_status_returned() -> None:
    async with trio.open_nursery() as nursery:
        process = await nursery.start(supervise_run_process, python("pass"))
        assert isinstance(process, trio.Process)
    assert process.returncode == 0
    assert await supervise_run_process(python("raise SystemExit(3)"), check=False) == 3


async def test_a_failure_is_raised_with_its_last_words(capsys: pytest.CaptureFixture[str]) -> None:
    source = (
        "import sys\n"
        "for i in range(50): print('line', i, file=sys.stderr)\n"
        "print('é', file=sys.stderr, end='')\n"
        "raise SystemExit(7)"
    )
    with pytest.raises(subprocess.CalledProcessError) as caught:
        await supervise_run_process(python(source))
    error = caught.value
    assert error.returncode == 7
    lines = error.stderr.splitlines()
    assert lines[-1] == "é" and lines[-2] == "line 49" and len(lines) == 20
    assert "line 49" in error.__notes__[0]
    assert capsys.readouterr().err.startswith("line 0\nline 1\n")


async def test_a_failure_cancels_its_nursery() -> None:
    with pytest.RaisesGroup(subprocess.CalledProcessError):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervise_run_process, python("raise SystemExit(1)"))
            await trio.sleep_forever()


async def test_cancelled_it_is_asked_then_killed() -> None:
    stubborn = (
        "import signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(99)"
    )
    for source, expected in (
        (stubborn, signal.SIGKILL),
        ("print(flush=True)\nimport time; time.sleep(99)", signal.SIGTERM),
    ):
        async with trio.open_nursery() as nursery:
            run = partial(
                supervise_run_process,
                stdout=subprocess.PIPE,
                terminate_timeout=0.05 if source is stubborn else 9,
            )
            process: trio.Process = await nursery.start(run, python(source))
            assert process.stdout is not None
            await process.stdout.receive_some()
            nursery.cancel_scope.cancel()
        await process.stdout.aclose()
        assert process.returncode == -expected
        with pytest.raises(ProcessLookupError):
            os.kill(process.pid, 0)


async def test_what_it_says_when_cancelled_is_passed_on(capsys: pytest.CaptureFixture[str]) -> None:
    source = (
        "import signal, sys, time\n"
        "def ended(*_): print('goodbye', file=sys.stderr); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, ended); print(flush=True); time.sleep(99)"
    )
    async with trio.open_nursery() as nursery:
        process = await nursery.start(
            partial(supervise_run_process, terminate_timeout=9, stdout=subprocess.PIPE), python(source)
        )
        await process.stdout.receive_some()
        nursery.cancel_scope.cancel()
    await process.stdout.aclose()
    assert process.returncode == 0
    assert capsys.readouterr().err == "goodbye\n"


async def test_a_grandchild_that_keeps_stderr_open_holds_nobody() -> None:
    source = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)'])\n"
        "print(child.pid, flush=True); sys.exit(4)"
    )
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            run = partial(supervise_run_process, python(source), check=False, stdout=subprocess.PIPE)
            process = await nursery.start(run)
            pid = int(await process.stdout.receive_some())
    await process.stdout.aclose()
    os.kill(pid, signal.SIGKILL)
    assert process.returncode == 4


async def test_what_cannot_be_started_and_what_cannot_be_meant() -> None:
    with pytest.raises(FileNotFoundError):
        await supervise_run_process(["/nonexistent/program"])
    with pytest.raises(ValueError, match="terminate_timeout"):
        await supervise_run_process(python("pass"), terminate_timeout=float("nan"))


async def test_a_stderr_of_the_callers_is_left_to_the_caller() -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        await supervise_run_process(python("import sys; sys.exit('said')"), stderr=subprocess.DEVNULL)
    assert caught.value.stderr == "" and not hasattr(caught.value, "__notes__")
