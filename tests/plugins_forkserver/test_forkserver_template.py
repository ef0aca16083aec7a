"""The template process: what it holds, what it forks, and what happens when it goes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from tractor_core.seams import ExitStatus, SpawnRequest
from tractor_core.supervision.supervisor import REHEARSAL
from tractor_forkserver import ForkedActor, backend
from tractor_forkserver import process as process_module
from tractor_forkserver.backend import _templates
from tractor_forkserver.messages import pack_request
from tractor_forkserver.owner import Template, TemplateEnded


def request(entry: str, bootstrap: bytes = b"", **fields: Any) -> SpawnRequest:
    return SpawnRequest("tested", "0123456789abcdef", f"forked_entries:{entry}", bootstrap, **fields)


def only_template() -> Template:
    (template,) = _templates.get().values()
    return template


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    try:
        yield ends
    finally:
        for end in ends:
            os.close(end)


@asynccontextmanager
async def waiting(bootstrap: bytes = b"0", **descriptors: int) -> AsyncIterator[ForkedActor]:
    """A forked process that runs ``wait``."""
    with pipe() as (report, report_end):
        actor = await backend.spawn(
            request("wait", bootstrap, descriptors={"report": report_end, **descriptors})
        )
        await trio.lowlevel.wait_readable(report)
    try:
        yield actor
    finally:
        actor.kill()
        with trio.CancelScope(shield=True):
            await actor.wait()


async def facts(bootstrap: bytes = b"", **fields: Any) -> dict[str, Any]:
    with pipe() as (report, report_end):
        actor = await backend.spawn(
            request("report", bootstrap, descriptors={"report": report_end}, **fields)
        )
        assert await actor.wait() == ExitStatus(code=0)
        found: dict[str, Any] = json.loads(os.read(report, 1 << 16))
    return found


async def gone(pid: int) -> None:
    while is_alive(pid):
        await trio.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def held_by(pid: int) -> set[str]:
    """What its descriptors lead to; it may be closing one of them at this moment."""
    held = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            held.add(os.readlink(path))
    return held


# -- what a forked process finds ---------------------------------------------------------------


async def test_a_forked_process_is_as_clean_as_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    first = await facts()
    monkeypatch.setattr(sys, "path", [*sys.path, "relative"])
    second = await facts(env={**os.environ, "TZ": "UTC+7"})
    assert first["random"] != second["random"]
    assert first["uuid"] != second["uuid"]
    assert first["blocked"] == [], "signals are blocked"
    assert first["chld_default"] and first["int_ignored"] and first["wakeup"] == -1
    assert first["inheritable"] == []
    assert second["search_path"][-1] == os.path.abspath("relative")
    assert second["zone"] == "UTC" and first["zone"] == time.tzname[0]
    assert not [name for name in first["modules"] if name.startswith(("pytest", "_pytest", "hypothesis"))]


async def test_the_signal_mask_is_the_owners_of_this_moment() -> None:
    """But for the signals by which actors are ended."""
    before = signal.pthread_sigmask(
        signal.SIG_BLOCK, (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
    )
    try:
        assert (await facts())["blocked"] == sorted([signal.SIGUSR1, signal.SIGCHLD])
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert (await facts())["blocked"] == [], "the template was started while they were blocked"


async def test_standard_input_is_the_owners_of_this_moment() -> None:
    saved = os.dup(0)
    try:
        for line in ("one\n", "two\n"):
            with pipe() as (read_end, write_end):
                os.dup2(read_end, 0)
                os.write(write_end, line.encode())
                assert (await facts(b"read"))["stdin"] == line
    finally:
        os.dup2(saved, 0)
        os.close(saved)


async def test_preloaded_modules_are_there_before_the_actor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACTOR_PRELOAD", "colorsys, wave")
    found = await facts(options={"preload": ["fileinput"]})
    assert {"colorsys", "wave", "fileinput"} <= set(found["modules"])
    assert "fileinput" not in (await facts())["modules"], "another set has another template"


@pytest.mark.parametrize("preload", [5, None, "wave", b"wave", [5], ["wave", None]])
async def test_a_preload_that_is_no_list_of_names_is_refused(preload: Any) -> None:
    with pytest.raises(TypeError, match="preload is a list of module names, not"):
        await backend.spawn(request("report", options={"preload": preload}))


async def test_preloaded_names_may_come_from_any_iterable() -> None:
    assert "colorsys" in (await facts(options={"preload": (name for name in ["colorsys"])}))["modules"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [("no_such_module", "ModuleNotFoundError"), ("preload_with_thread", "started 1 thread")],
)
async def test_a_module_that_cannot_be_preloaded_is_named(name: str, reason: str) -> None:
    for _ in range(2):
        with pytest.raises(ImportError, match=rf"{name}.*{reason}"):
            await backend.spawn(request("report", options={"preload": [name]}))


@pytest.mark.parametrize("asked", [True, False])
async def test_why_a_template_failed_is_known_although_it_has_gone(asked: bool) -> None:
    """Whoever ends with requests unread resets the connection, which is reported before what it had sent."""
    template = Template(
        {
            "owner": os.getpid(),
            "search_path": sys.path,
            "preload": ["no_such_module"],
            "expected": [],
            "rehearsal": "",
        }
    )
    if asked:
        template._control.send(pack_request(1, 0))
    os.waitid(os.P_PID, template.pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(TemplateEnded):
        await template.fork(0, [])
    assert template.failure is not None and "no_such_module" in template.failure


async def test_nothing_of_a_rehearsal_is_seen_in_a_forked_process() -> None:
    found = []
    for rehearsal, preload in (("", "colorsys"), (REHEARSAL, "wave"), (REHEARSAL, "wave")):
        found.append(await facts(rehearsal=rehearsal, options={"preload": [preload]}))
    plain, first, second = found
    for name in plain.keys() - {"modules", "random", "uuid", "pid"}:
        assert plain[name] == first[name], name
    assert first["random"] != second["random"] and first["uuid"] != second["uuid"]
    templates = [Path(f"/proc/{template.pid}") for template in _templates.get().values()]
    assert len(templates) == 2
    assert all("Threads:\t1\n" in (path / "status").read_text() for path in templates)
    assert len({len(os.listdir(path / "fd")) for path in templates}) == 1
    assert REHEARSAL.partition(":")[0] in first["modules"], "there was one"


@pytest.mark.parametrize(
    "rehearsal", ["forked_entries:fail", "no_such_module:function", "os:no_such_function"]
)
async def test_a_rehearsal_that_goes_wrong_keeps_nobody_from_anything(rehearsal: str) -> None:
    assert (await facts(rehearsal=rehearsal))["int_ignored"]


# -- what the template holds -------------------------------------------------------------------


async def test_the_template_has_one_thread_and_none_of_its_childrens_descriptors() -> None:
    with pipe() as (guard, guard_end):
        identity = os.readlink(f"/proc/self/fd/{guard_end}")
        async with waiting(guard=guard_end):
            template = only_template()
            assert "Threads:\t1\n" in Path(f"/proc/{template.pid}/status").read_text()
            assert identity not in held_by(template.pid)
            assert guard != guard_end


async def test_a_stopping_actor_takes_the_template_along_unless_it_is_used() -> None:
    async with waiting():
        template = only_template()
        backend.tractor_actor_stopped()
        assert not template.over
    backend.tractor_actor_stopped()
    assert template.over
    assert (await facts())["int_ignored"], "a new one is started"


# -- when the template goes --------------------------------------------------------------------


async def test_actors_outlive_their_template_and_a_new_one_is_started() -> None:
    async with waiting() as actor:
        killed = only_template()
        os.kill(killed.pid, signal.SIGKILL)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(actor.wait)
            with trio.fail_after(10):
                while not killed.over:
                    await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
        with trio.move_on_after(0.1):
            await actor.wait()
            raise AssertionError("it ended with its template")
        assert actor.poll() is None
        assert (await facts())["int_ignored"]
        assert only_template() is not killed
        actor.terminate()
        status = await actor.wait()
    # Who reaped it did not tell; the kernel does, if it is recent.
    assert status in (ExitStatus(signal=signal.SIGTERM), ExitStatus())


async def test_a_status_that_nobody_knows_is_said_to_be_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_module, "_exit_info", lambda pidfd: None)
    async with waiting() as actor:
        os.kill(only_template().pid, signal.SIGKILL)
        actor.kill()
        status = await actor.wait()
        if not status.signal:  # else the template was quicker to report than to die
            assert status == ExitStatus() and not status.ok
            assert str(status) == "exit status unknown"
        assert actor.poll() == status


async def test_a_stopped_template_is_woken_for_the_report() -> None:
    async with waiting() as actor:
        os.kill(only_template().pid, signal.SIGSTOP)
        actor.kill()
        assert await actor.wait() == ExitStatus(signal=signal.SIGKILL)
        assert not only_template().over


async def test_a_stopped_template_is_woken_for_a_request() -> None:
    async with waiting():
        os.kill(only_template().pid, signal.SIGSTOP)
        assert await facts()


async def test_a_request_on_its_way_when_the_template_is_killed_is_made_again() -> None:
    async with waiting(), trio.open_nursery() as nursery:
        killed = only_template()
        os.kill(killed.pid, signal.SIGSTOP)
        nursery.start_soon(facts)
        await trio.testing.wait_all_tasks_blocked()
        os.kill(killed.pid, signal.SIGKILL)


async def test_a_cancelled_request_leaves_no_process() -> None:
    async with waiting():
        template = only_template()
        os.kill(template.pid, signal.SIGSTOP)
        with trio.move_on_after(0.05) as scope:
            await backend.spawn(request("wait"))
        assert scope.cancelled_caught
        os.kill(template.pid, signal.SIGCONT)
        assert (await facts())["int_ignored"]  # answered after the one that was cancelled
        (survivor,) = template._actors
        children = Path(f"/proc/{template.pid}/task/{template.pid}/children")
        with trio.fail_after(5):
            while children.read_text().split() != [str(survivor)]:
                await trio.sleep(0.01)


OWNER = """\
import os, signal, sys, time, trio
from tractor_core.seams import SpawnRequest
from tractor_forkserver import backend
from tractor_forkserver.backend import _templates

async def main():
    lifeline, lifeline_end = os.pipe()
    report, report_end = os.pipe()
    descriptors = {"lifeline": lifeline, "report": report_end}
    actor = await backend.spawn(SpawnRequest("a", "b" * 16, "forked_entries:wait", b"0", descriptors))
    os.read(report, 8)
    (template,) = _templates.get().values()
    print(template.pid, actor.pid, flush=True)
    time.sleep(3600)

trio.run(main)
"""


@pytest.mark.parametrize("stopped", [False, True])
async def test_the_template_ends_with_its_owner(tmp_path: Path, stopped: bool) -> None:
    (tmp_path / "owner.py").write_text(textwrap.dedent(OWNER))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    owner = subprocess.Popen(
        [sys.executable, str(tmp_path / "owner.py")], stdout=subprocess.PIPE, env=environment
    )
    try:
        assert owner.stdout is not None
        with owner.stdout:
            line = await trio.to_thread.run_sync(owner.stdout.readline)
        template, actor = map(int, line.split())
        if stopped:
            os.kill(template, signal.SIGSTOP)
    finally:
        owner.kill()
        owner.wait()
    with trio.fail_after(2):
        await gone(template)
        await gone(actor)


async def test_who_was_forked_by_a_dying_template_gets_nobodys_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends; the order goes to the process of the next template, which the owner holds."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    note = tmp_path / "forked"
    monkeypatch.setenv("NOTE_OF_THE_FORKED", str(note))
    # More than a pipe holds, so that two readers would each get a part.
    found = await facts(b"x" * 1_000_000, options={"preload": ["preload_that_kills"]})
    assert found["pid"] != int(note.read_text())
    with trio.fail_after(5):
        await gone(int(note.read_text()))
