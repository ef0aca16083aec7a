"""What is known of an actor that ended unasked: the lines it wrote last, and where it crashed."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import last_words_endpoints as endpoints
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

import tractor_core as tractor
from tractor_core.ipc import endpoint
from tractor_core.supervision.last_words import (
    MOST_COLUMNS,
    MOST_LINES,
    RING_SIZE,
    LastWords,
    Ring,
    record_stderr,
)
from tractor_core.supervision.stderr_capture import StderrCapture, redirect_stderr

#: The resource tracker comes with the first actor of that method, and stays.
pytestmark = pytest.mark.usefixtures("resource_tracker_runs")

METHODS = ("subprocess", "forkserver", "multiprocessing")


@pytest.fixture(scope="module")
def resource_tracker_runs() -> Iterator[None]:
    resource_tracker.ensure_running()
    yield
    resource_tracker._resource_tracker._stop()  # type: ignore[attr-defined]


@contextmanager
def last_words() -> Iterator[LastWords]:
    words = LastWords()
    try:
        yield words
    finally:
        words.close()


# -- the ring ----------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 3 * RING_SIZE), max_size=6))
def test_the_ring_keeps_what_came_last(sizes: list[int]) -> None:
    with last_words() as words:
        ring = Ring(words.descriptor)
        text = b"".join(b"%07d\n" % number for number in range(sum(sizes) // 8 + 1))[: sum(sizes)]
        at = 0
        for size in sizes:
            ring.add(memoryview(text)[at : at + size])
            at += size
        whole = text[-RING_SIZE:] if len(text) <= RING_SIZE else text[-RING_SIZE:].partition(b"\n")[2]
        assert words.read().splitlines() == whole.decode().splitlines()[-MOST_LINES:]


def test_long_lines_and_empty_ones_are_no_burden() -> None:
    with last_words() as words:
        Ring(words.descriptor).add(b"\n\n" + b"x" * 2000 + b"\n\xff\n\n")
        assert words.read() == "x" * MOST_COLUMNS + "\n\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\n\n\n"])
@pytest.mark.parametrize("size", [RING_SIZE, RING_SIZE + 1, 2 * RING_SIZE + 5])
def test_of_a_line_longer_than_the_ring_its_tail_is_kept(size: int, end: bytes) -> None:
    line = b"".join(b"%06d " % number for number in range(size))[:size]
    with last_words() as words:
        Ring(words.descriptor).add(b"what came before\n" + line + end)
        assert words.read() == line.decode().strip()[-MOST_COLUMNS:]


def test_a_closed_file_is_no_error_for_the_writer() -> None:
    words = LastWords()
    ring = Ring(words.descriptor)
    words.close()
    words.close()
    ring.add(b"nobody reads this")
    assert words.read() == ""


def test_a_forked_copy_does_not_write_into_it() -> None:
    with last_words() as words:
        ring = Ring(words.descriptor)
        ring.add(b"parent\n")
        pid = os.fork()
        if pid == 0:
            ring.add(b"copy\n")
            os._exit(0)
        os.waitpid(pid, 0)
        assert words.read() == "parent"


def test_a_stream_that_is_not_the_standard_one_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with last_words() as words:
        for stream in (None, io.StringIO()):
            monkeypatch.setattr(sys, "stderr", stream)
            record_stderr(words.descriptor)
            assert sys.stderr is stream


# -- the pipe ----------------------------------------------------------------------------------


@contextmanager
def stderr_is(descriptor: int) -> Iterator[None]:
    """Have it as standard error in the block."""
    saved = os.dup(2)
    os.dup2(descriptor, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


async def test_what_is_captured_is_passed_on_in_full() -> None:
    text = b"".join(b"%d\n" % number for number in range(50_000))
    passed_on = os.memfd_create("terminal")
    with last_words() as words:
        with stderr_is(passed_on):
            capture = StderrCapture(words)
        await trio.to_thread.run_sync(os.write, capture.write_end, text)
        await capture.settle()
        assert words.read().splitlines()[-1] == "49999"
    # The thread passes on what it has recorded, and only then is at its end.
    while os.fstat(passed_on).st_size < len(text):
        await trio.sleep(0.01)
    assert os.pread(passed_on, len(text) + 1, 0) == text
    os.close(passed_on)


async def test_a_terminal_that_takes_nothing_holds_up_neither_the_loop_nor_the_end() -> None:
    read_end, full = os.pipe()
    with last_words() as words:
        with stderr_is(full):
            capture = StderrCapture(words)
        with trio.fail_after(5):
            # More than both pipes hold would wait, as it would without the capture; this much does not.
            os.write(capture.write_end, b"a line\n" * 9000)
            os.write(full, b"x" * 1000)
            await capture.settle()
        assert words.read().splitlines()[-1] == "a line"
    os.close(read_end)
    os.close(full)


async def test_a_terminal_that_hangs_up_is_none_of_the_childs_business() -> None:
    read_end, write_end = os.pipe()
    with last_words() as words:
        with stderr_is(write_end):
            capture = StderrCapture(words)
        os.close(read_end)
        os.close(write_end)
        for _ in range(3):
            await trio.to_thread.run_sync(os.write, capture.write_end, b"said\n" * 20_000)
        await capture.settle()
        assert words.read()


def test_redirecting_can_be_undone() -> None:
    terminal = os.memfd_create("terminal")
    read_end, write_end = os.pipe()
    with stderr_is(terminal):
        undo = redirect_stderr(write_end)
        os.write(2, b"to the parent")
        assert os.read(read_end, 99) == b"to the parent"
        os.close(read_end)
        os.write(2, b"to nobody, but without an error")
        undo()
        os.write(2, b"to the terminal")
    assert os.pread(terminal, 99, 0) == b"to the terminal"
    os.close(terminal)


@contextmanager
def stderr_to_null() -> Iterator[None]:
    with open(os.devnull, "wb") as null, stderr_is(null.fileno()):
        yield


# -- actors ------------------------------------------------------------------------------------


async def death(registry: str, function: Any, *args: Any, **options: Any) -> tractor.ActorDied:
    with pytest.raises(tractor.ActorDied) as caught:
        async with tractor.open_nursery(registry_addrs=[registry]) as an:
            portal = await an.start_actor("speaker", enable_modules=[endpoints.MODULE], **options)
            await portal.run(function, *args)
    return caught.value


@pytest.mark.parametrize("method", METHODS)
async def test_the_last_lines_and_no_more(method: str, free_tcp_registry: str) -> None:
    error = await death(free_tcp_registry, endpoints.say_and_exit, 1000, start_method=method)
    assert error.last_words.splitlines() == [f"line {number}" for number in range(980, 1000)]
    assert "exit code 3\n┌─ its last words\n│ line 980\n" in str(error)
    assert str(error).endswith("│ line 999\n└─")


@pytest.mark.parametrize("method", METHODS)
async def test_a_child_that_cannot_join_says_so_in_a_line(
    method: str, free_tcp_registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its link breaks in the middle of the handshake."""

    async def hang_up(*_: Any, **__: Any) -> None:
        raise tractor.TransportClosed("cut")

    async with tractor.open_nursery(registry_addrs=[free_tcp_registry]) as an:
        monkeypatch.setattr(endpoint, "accept_handshake", hang_up)
        with pytest.raises(tractor.ActorDied) as caught:
            await an.start_actor("latecomer", start_method=method)
        monkeypatch.undo()
    (line,) = caught.value.last_words.splitlines()
    assert line.startswith("latecomer cannot join its parent root@") and free_tcp_registry in line


@pytest.mark.parametrize("method", METHODS)
async def test_where_it_was_when_it_crashed(method: str, free_tcp_registry: str) -> None:
    error = await death(free_tcp_registry, endpoints.crash, start_method=method)
    assert "killed by SIGSEGV" in str(error)
    assert "Fatal Python error: Segmentation fault" in error.last_words
    assert "last_words_endpoints.py" in error.last_words and "in crash" in error.last_words


async def test_an_abort_by_c_code(free_tcp_registry: str) -> None:
    error = await death(free_tcp_registry, endpoints.abort)
    assert "killed by SIGABRT" in str(error)
    assert "Fatal Python error: Aborted" in error.last_words
    assert "what C code says" not in error.last_words, "that takes capturing"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("function", "words"),
    [(endpoints.abort, "what C code says"), (endpoints.fatal_error, "Fatal Python error: beyond repair")],
    ids=["abort", "fatal error"],
)
async def test_captured_all_of_it_is_known(
    function: Any, words: str, method: str, free_tcp_registry: str, capfd: pytest.CaptureFixture[str]
) -> None:
    error = await death(free_tcp_registry, function, start_method=method, spawn_options={"stderr": "capture"})
    assert words in error.last_words
    # The thread that passes it on is done a moment after the error is there.
    seen = ""
    while words not in seen:
        seen += capfd.readouterr().err
        await trio.sleep(0.01)


async def test_an_actor_that_says_nothing_has_no_last_words(free_tcp_registry: str) -> None:
    error = await death(free_tcp_registry, endpoints.say_and_exit, 0)
    assert error.last_words == "" == error.pformat()
    assert str(error).endswith("exit code 3")


async def test_a_dead_actors_words_reach_those_further_up(free_tcp_registry: str) -> None:
    async with tractor.open_nursery(registry_addrs=[free_tcp_registry]) as an:
        portal = await an.start_actor("middle", enable_modules=[__name__])
        with pytest.raises(tractor.RemoteActorError, match="line 0"):
            await portal.run(lose_a_child)
        await an.cancel()


async def lose_a_child() -> None:
    async with tractor.open_nursery() as an:
        portal = await an.start_actor("leaf", enable_modules=[endpoints.MODULE])
        await portal.run(endpoints.say_and_exit, 1)


@pytest.mark.parametrize("unbuffered", ["", "1"])
async def test_standard_error_stays_what_it_is(
    unbuffered: str, free_tcp_registry: str, capfd: pytest.CaptureFixture[str]
) -> None:
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    async with tractor.open_nursery(registry_addrs=[free_tcp_registry]) as an:
        portal = await an.start_actor(
            "speaker", enable_modules=[endpoints.MODULE], proc_kwargs={"env": environment}
        )
        facts = await portal.run(endpoints.facts_of_stderr)
        assert facts == ("<stderr>", 2, "w", not unbuffered, bool(unbuffered), False)
        await portal.cancel_actor()
    await death(free_tcp_registry, endpoints.say_and_exit, 2)
    assert "line 0\nline 1\n" in capfd.readouterr().err


async def test_a_busy_parent_does_not_hold_up_a_captured_child(
    free_tcp_registry: str, tmp_path: Path
) -> None:
    begun, go, done = (tmp_path / name for name in ("begun", "go", "done"))
    async with tractor.open_nursery(registry_addrs=[free_tcp_registry]) as an:
        with stderr_to_null():
            portal = await an.start_actor(
                "speaker", enable_modules=[endpoints.MODULE], proc_kwargs={"stderr": "capture"}
            )
        async with trio.open_nursery() as tasks:
            tasks.start_soon(portal.run, endpoints.flood, 1_000_000, str(begun), str(go), str(done))
            while not begun.exists():
                await trio.sleep(0.01)
            # The loop stands still from here on.
            go.touch()
            give_up = time.monotonic() + 10
            while not done.exists() and time.monotonic() < give_up:
                time.sleep(0.01)
            assert done.exists()
        await an.cancel()


PARENT = """
import sys, trio
import last_words_endpoints as endpoints
import tractor_core as tractor

async def main(registry, path):
    async with tractor.open_nursery(registry_addrs=[registry]) as an:
        portal = await an.start_actor(
            "speaker", enable_modules=[endpoints.MODULE], spawn_options={"stderr": "capture"}
        )
        print("ready", flush=True)
        await portal.run(endpoints.complain_as_an_orphan, path)

trio.run(main, *sys.argv[1:])
"""


async def test_what_an_orphan_says_reaches_the_terminal(free_tcp_registry: str, tmp_path: Path) -> None:
    """And is no error, nor was it in between."""
    report = tmp_path / "report"
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, free_tcp_registry, str(report)],
        cwd=Path(__file__).parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert parent.stdout is not None and parent.stderr is not None
    with parent, parent.stdout, parent.stderr:
        assert parent.stdout.readline() == b"ready\n"
        await trio.to_thread.run_sync(parent.stderr.readline)
        parent.kill()
        said = await trio.to_thread.run_sync(parent.stderr.read)
    assert (tmp_path / "report.ended").exists() and not report.exists()
    assert said.endswith(b"still here, and alone\nfarewell\n")


async def test_only_two_ways_to_treat_it(free_tcp_registry: str) -> None:
    async with tractor.open_nursery(registry_addrs=[free_tcp_registry]) as an:
        with pytest.raises(ValueError, match="'capture' or None"):
            await an.start_actor("speaker", spawn_options={"stderr": "tee"})
