"""What the subprocess backend promises beyond the kit."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import pytest
import trio
import trio.testing

from tractor_core.seams import ExitStatus, SpawnRequest
from tractor_subprocess import SubprocessActor, backend
from tractor_subprocess import process as process_module
from tractor_subprocess.child import launcher, pack_strings


def request(entry: str, bootstrap: bytes = b"", **fields: object) -> SpawnRequest:
    return SpawnRequest("tested", "0123456789abcdef", entry, bootstrap, **fields)  # type: ignore[arg-type]


@pytest.fixture
def entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory of modules that only ``sys.path`` knows, not the environment; relative to this one."""
    monkeypatch.setattr(sys, "path", ["modules", *sys.path])
    (tmp_path / "modules").mkdir()
    with chdir(tmp_path):
        yield tmp_path / "modules"


def write_module(directory: Path, source: str) -> None:
    (directory / "spawned_entry.py").write_text(textwrap.dedent(source))


async def test_the_search_path_of_the_parent_reaches_the_child(entries: Path) -> None:
    write_module(
        entries,
        """
        import sys
        def main(bootstrap, descriptors):
            return 0 if all(path.startswith("/") for path in sys.path) else 1
        """,
    )
    process = await backend.spawn(request("spawned_entry:main", cwd="/"))
    assert await process.wait() == ExitStatus(code=0)


async def test_descriptors_go_no_further_than_the_actor(entries: Path) -> None:
    write_module(
        entries,
        """
        import os
        def main(bootstrap, descriptors):
            return 0 if not any(map(os.get_inheritable, descriptors.values())) else 1
        """,
    )
    read_end, write_end = os.pipe()
    try:
        process = await backend.spawn(request("spawned_entry:main", descriptors={"a=b": read_end}))
        assert await process.wait() == ExitStatus(code=0)
    finally:
        os.close(read_end)
        os.close(write_end)


async def test_an_interrupt_from_the_terminal_is_no_matter_at_any_time(entries: Path) -> None:
    write_module(
        entries,
        """
        import os, signal
        def main(bootstrap, descriptors):
            os.kill(os.getpid(), signal.SIGINT)
            blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
            return 0 if not blocked else 1
        """,
    )
    process = await backend.spawn(request("spawned_entry:main"))
    assert process.pid is not None
    os.kill(process.pid, signal.SIGINT)  # while the interpreter starts
    assert await process.wait() == ExitStatus(code=0)
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


async def test_an_entry_that_cannot_be_found_ends_the_process(
    entries: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    process = await backend.spawn(request("no_such_module:main"))
    assert await process.wait() == ExitStatus(code=1)
    assert "no_such_module" in capfd.readouterr().err


async def test_a_child_that_ends_before_it_read_everything_is_still_returned(
    entries: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    process = await backend.spawn(request("spawned_entry:main", bytes(1 << 20)))
    assert not (await process.wait()).ok


async def test_a_spawn_cancelled_while_the_child_reads_leaves_nothing(entries: Path, tmp_path: Path) -> None:
    """The process is killed where it is, here before it has read a byte."""
    program = tmp_path / "sleeper"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", str(program))
        with trio.move_on_after(0.05) as scope:
            await backend.spawn(request("spawned_entry:main", bytes(1 << 20)))
    assert scope.cancelled_caught
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.mark.parametrize(
    "written", [b"", b"\0\0", pack_strings(["/usr/lib"])[:-1]], ids=["nothing", "a size", "a path"]
)
def test_a_parent_that_dies_while_it_writes_is_no_error_to_tell(written: bytes) -> None:
    read_end, write_end = os.pipe()
    with open(read_end, "rb"):
        with open(write_end, "wb") as writer:
            writer.write(written)
        done = subprocess.run(
            [sys.executable, "-c", launcher(read_end)], pass_fds=[read_end], capture_output=True
        )
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")


async def test_no_interpreter_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(RuntimeError, match=r"sys\.executable"):
        await backend.spawn(request("spawned_entry:main"))


async def test_without_descriptors_for_a_pidfd_a_thread_waits(
    entries: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One that does not end by itself, however late it is killed.
    write_module(
        entries,
        """
        import time
        def main(bootstrap, descriptors):
            time.sleep(60)
        """,
    )

    def refuse(pid: int) -> int:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(process_module.os, "pidfd_open", refuse, raising=False)
    process = await backend.spawn(request("spawned_entry:main", env={"PATH": "", "PYTHONSTARTUP": ""}))
    process.kill()
    assert await process.wait() == ExitStatus(signal=signal.SIGKILL)


async def test_the_end_seen_by_poll_during_a_cancelled_wait_releases_everything() -> None:
    popen = subprocess_that_exits()
    process = SubprocessActor(popen)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(process.wait)
            await trio.testing.wait_all_tasks_blocked()
            os.waitid(os.P_PID, popen.pid, os.WEXITED | os.WNOWAIT)
            assert process.poll() == ExitStatus(code=4)
            scope.cancel()
    assert await process.wait() == ExitStatus(code=4)


def subprocess_that_exits() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "raise SystemExit(4)"])


def test_the_name_is_the_methods() -> None:
    assert backend.name == "subprocess"
