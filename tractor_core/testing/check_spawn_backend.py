"""Conformance of a spawn backend: what every one of them must do, checked on real processes.

Plain async functions without a test framework::

    async def test_my_backend():
        await check_spawn_backend(backend)

or one test for each of :data:`CHECKS`. They raise ``AssertionError``, or ``trio.TooSlowError`` where
something never happened. Descriptors and processes are counted where ``/proc`` shows them.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, NoReturn

import trio
import trio.testing

from tractor_core.seams.spawn import ActorProcess, ExitStatus, SpawnBackend, SpawnRequest

#: Seconds any single check may take; generous, for a machine that is busy.
PATIENCE: Final = 20.0

#: A bootstrap blob well over what a pipe holds.
LARGE_BOOTSTRAP: Final = 1 << 20


# -- entries: what the processes under test run ----------------------------------------------


def exit_with_bootstrap(bootstrap: bytes, descriptors: Mapping[str, int]) -> int:
    """Exit with the number that the bootstrap blob spells."""
    return int(bootstrap)


def end_by_signal(bootstrap: bytes, descriptors: Mapping[str, int]) -> int:
    """End by the signal whose number the bootstrap blob spells."""
    os.kill(os.getpid(), int(bootstrap))
    return 0


def sleep_forever(bootstrap: bytes, descriptors: Mapping[str, int]) -> NoReturn:
    """Say that this process runs, where there is somebody to tell, and stay."""
    if "report" in descriptors:
        os.write(descriptors["report"], b"running")
        os.close(descriptors["report"])
    while True:
        time.sleep(3600)


def report_facts(bootstrap: bytes, descriptors: Mapping[str, int]) -> int:
    """Write what this process sees of itself to the descriptor "report", as JSON."""
    facts = {
        "pid": os.getpid(),
        "bootstrap": hashlib.sha256(bootstrap).hexdigest(),
        "cwd": os.getcwd(),
        "env": dict(os.environ),
        "argv": [*sys.orig_argv, *sys.argv],
        "descriptors": dict(descriptors),
        "open": _open_descriptors(),
        "sigterm_default": signal.getsignal(signal.SIGTERM) is signal.SIG_DFL,
    }
    with open(descriptors["report"], "w", encoding="utf-8") as report:
        json.dump(facts, report)
    return 0


# -- checks ----------------------------------------------------------------------------------


async def check_exit_codes(backend: SpawnBackend) -> None:
    """The entry's integer is the exit code, and a signal is told apart from a code."""
    for code in (0, 1, 77):
        process = await backend.spawn(_request("exit_with_bootstrap", str(code).encode()))
        status = await process.wait()
        assert status == ExitStatus(code=code), status
        assert process.poll() == status
        assert await process.wait() == status, "a second wait() differs"
    process = await backend.spawn(_request("end_by_signal", str(int(signal.SIGUSR1)).encode()))
    assert await process.wait() == ExitStatus(signal=signal.SIGUSR1)


async def check_unknown_option(backend: SpawnBackend) -> None:
    """An option the backend does not know is refused, by name."""
    request = _request("exit_with_bootstrap", b"0", options={"no_such_option": 1})
    message = None
    try:
        await backend.spawn(request)
    except ValueError as error:
        message = str(error)
    assert message is not None, "an unknown option was accepted"
    assert "no_such_option" in message, f"the error does not name the option: {message}"


async def check_bad_directory(backend: SpawnBackend) -> None:
    """A process that cannot be started is an error or a failed process, never a hang."""
    request = _request("exit_with_bootstrap", b"0", cwd="/no/such/directory")
    try:
        process = await backend.spawn(request)
    except OSError:
        return
    assert not (await process.wait()).ok, "a directory that does not exist was accepted"


async def check_terminate_and_kill(backend: SpawnBackend) -> None:
    """SIGTERM ends an ordinary process, SIGKILL a stopped one; afterwards neither does anything."""
    async with _running(backend) as process:
        assert process.poll() is None
        process.terminate()
        assert await process.wait() == ExitStatus(signal=signal.SIGTERM)
        process.terminate()
        process.kill()
    async with _running(backend) as process:
        assert process.pid is not None
        os.kill(process.pid, signal.SIGSTOP)
        process.kill()
        assert await process.wait() == ExitStatus(signal=signal.SIGKILL)
        assert _is_gone(process.pid), "wait() returned before the process was reaped"


async def check_many_waiters(backend: SpawnBackend) -> None:
    """Any number of tasks wait; the cancellation of one is no matter to the others."""
    statuses: list[ExitStatus] = []

    async def wait_for(process: ActorProcess) -> None:
        statuses.append(await process.wait())

    async with _running(backend) as process, trio.open_nursery() as nursery:
        impatient = trio.CancelScope()

        async def wait_impatiently() -> None:
            with impatient:
                await process.wait()
                raise AssertionError("the process ended too early")

        nursery.start_soon(wait_impatiently)
        await trio.testing.wait_all_tasks_blocked(0.01)
        nursery.start_soon(wait_for, process)
        nursery.start_soon(wait_for, process)
        await trio.testing.wait_all_tasks_blocked(0.01)
        impatient.cancel()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert not statuses
        process.kill()
    assert statuses == [ExitStatus(signal=signal.SIGKILL)] * 2, statuses


async def check_wait_cancelled(backend: SpawnBackend) -> None:
    """A cancelled wait() leaves the process alone, and everything about it working."""
    async with _running(backend) as process:
        with trio.move_on_after(0.01) as scope:
            await process.wait()
        assert scope.cancelled_caught
        assert process.poll() is None
        process.kill()
        assert await process.wait() == ExitStatus(signal=signal.SIGKILL)


async def check_poll_reaps(backend: SpawnBackend) -> None:
    """poll() alone sees the end and reaps."""
    process = await backend.spawn(_request("exit_with_bootstrap", b"5"))
    while process.poll() is None:
        await trio.sleep(0.005)
    assert process.poll() == ExitStatus(code=5)
    assert process.pid is None or _is_gone(process.pid), "poll() did not reap"


async def check_kill_while_starting(backend: SpawnBackend) -> None:
    """A process may be killed before it runs a line, also while its bootstrap blob is on the way."""
    process = await backend.spawn(_request("sleep_forever", b""))
    process.kill()
    assert await process.wait() == ExitStatus(signal=signal.SIGKILL)
    process = await backend.spawn(_request("sleep_forever", b""))
    process.terminate()
    assert await process.wait() == ExitStatus(signal=signal.SIGTERM)


async def check_spawn_cancelled(backend: SpawnBackend) -> None:
    """A spawn() that is cancelled leaves nothing; one that is too late to be returns its process."""
    for delay in (0.0, 0.002):
        process: ActorProcess | None = None
        with trio.move_on_after(delay):
            process = await backend.spawn(_request("sleep_forever", bytes(LARGE_BOOTSTRAP)))
        if process is not None:
            process.kill()
            await process.wait()


async def check_environment(backend: SpawnBackend) -> None:
    """``env`` and ``cwd`` are honoured, and taken from this process where they are None."""
    variables = {**os.environ, "TRACTOR_CHECK": "ünïcode"}
    directory = os.sep
    facts = await _facts(backend, env=variables, cwd=directory)
    assert facts["env"].get("TRACTOR_CHECK") == "ünïcode"
    assert facts["cwd"] == directory
    facts = await _facts(backend)
    assert "TRACTOR_CHECK" not in facts["env"]
    assert facts["cwd"] == os.getcwd()
    assert facts["sigterm_default"], "SIGTERM must be at its default in an actor"


async def check_descriptors(backend: SpawnBackend) -> None:
    """Descriptors arrive under their names, and no other does, not even an inheritable one."""
    with _pipe() as (first, first_end), _pipe() as (second, second_end), _pipe() as (stray, stray_end):
        os.set_inheritable(stray, True)
        os.write(first_end, b"1")
        os.write(second_end, b"2")
        identities = {"one": os.readlink(_path(first)), "two": os.readlink(_path(second))} if _PROC else {}
        strays = (
            {os.readlink(_path(number)) for number in (first_end, second_end, stray, stray_end)}
            if _PROC
            else set()
        )
        facts = await _facts(backend, descriptors={"one": first, "two": second})
    assert set(facts["descriptors"]) == {"one", "two", "report"}, facts["descriptors"]
    there = facts["open"]
    for name, identity in identities.items():
        assert there[str(facts["descriptors"][name])] == identity, f"{name!r} leads elsewhere: {there}"
    delivered = set(identities.values())
    leaked = {identity for identity in there.values() if identity in strays - delivered}
    assert not leaked, f"leaked into the child: {leaked}"
    assert list(there.values()).count(identities.get("one")) <= 1, f"delivered twice: {there}"


async def check_bootstrap(backend: SpawnBackend) -> None:
    """Any blob arrives whole, empty or large, and never by way of argv or the environment."""
    for blob in (b"", b"\0\xff" * 100, b"secret-" * 10, os.urandom(LARGE_BOOTSTRAP)):
        facts = await _facts(backend, bootstrap=blob)
        assert facts["bootstrap"] == hashlib.sha256(blob).hexdigest(), f"a blob of {len(blob)} bytes changed"
        if blob.startswith(b"secret-"):
            exposed = " ".join([*facts["argv"], *facts["env"].values()])
            assert "secret-" not in exposed, "the bootstrap blob is visible to other users"


async def check_stdin_closed(backend: SpawnBackend) -> None:
    """A parent without standard input can spawn (its next descriptor is number 0)."""
    saved = os.dup(0)
    try:
        os.close(0)
        process = await backend.spawn(_request("exit_with_bootstrap", b"3"))
        status = await process.wait()
    finally:
        os.dup2(saved, 0)
        os.close(saved)
    assert status == ExitStatus(code=3), status


async def check_many_at_once(backend: SpawnBackend) -> None:
    """Eight start concurrently, each with its own blob, and end each in its own way."""
    results: dict[int, ExitStatus] = {}

    async def one(code: int) -> None:
        process = await backend.spawn(_request("exit_with_bootstrap", str(code).encode()))
        results[code] = await process.wait()

    async with trio.open_nursery() as nursery:
        for code in range(8):
            nursery.start_soon(one, code)
    assert results == {code: ExitStatus(code=code) for code in range(8)}, results


#: Every check, in the order in which :func:`check_spawn_backend` runs them.
CHECKS: Final[tuple[Callable[[SpawnBackend], Awaitable[None]], ...]] = (
    check_exit_codes,
    check_unknown_option,
    check_bad_directory,
    check_terminate_and_kill,
    check_many_waiters,
    check_wait_cancelled,
    check_poll_reaps,
    check_kill_while_starting,
    check_spawn_cancelled,
    check_environment,
    check_descriptors,
    check_bootstrap,
    check_stdin_closed,
    check_many_at_once,
)


async def check_nothing_left(
    backend: SpawnBackend,
    check: Callable[[SpawnBackend], Awaitable[None]],
    *,
    patience: float = PATIENCE,
) -> None:
    """Run ``check``, and see that this process has the descriptors and children that it had before.

    What a backend starts once and keeps (a template process, say) it should have started by then. The check
    may take ``patience`` seconds; one starts up to a dozen processes.
    """
    descriptors, children = _open_descriptors(), _children()
    with trio.fail_after(patience):
        await check(backend)
    left = {number: to for number, to in _open_descriptors().items() if descriptors.get(number) != to}
    assert not left, f"{check.__name__} left descriptors open: {left}"
    assert _children() <= children, f"{check.__name__} left processes: {_children() - children}"


async def check_spawn_backend(backend: SpawnBackend, *, patience: float = PATIENCE) -> None:
    """All :data:`CHECKS`, none of which may leave anything behind or take longer than ``patience`` seconds.

    A backend for which some of them cannot hold runs the others by :func:`check_nothing_left`.
    """
    warm_up = await backend.spawn(_request("exit_with_bootstrap", b"0"))
    await warm_up.wait()
    for check in CHECKS:
        await check_nothing_left(backend, check, patience=patience)


# -- helpers ---------------------------------------------------------------------------------

_PROC: Final = os.path.isdir("/proc/self/fd")


def _request(entry: str, bootstrap: bytes, **fields: Any) -> SpawnRequest:
    return SpawnRequest("checked", "0123456789abcdef", f"{__name__}:{entry}", bootstrap, **fields)


@asynccontextmanager
async def _running(backend: SpawnBackend) -> AsyncIterator[ActorProcess]:
    """A process that is known to run its entry; killed and reaped at the end."""
    with _pipe() as (report, report_end):
        process = await backend.spawn(_request("sleep_forever", b"", descriptors={"report": report_end}))
        try:
            assert await _read_all(report, 7) == b"running"
            yield process
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()


async def _facts(
    backend: SpawnBackend,
    *,
    bootstrap: bytes = b"",
    descriptors: Mapping[str, int] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
) -> dict[str, Any]:
    """What a new process reports about itself."""
    with _pipe() as (report, report_end):
        request = _request(
            "report_facts",
            bootstrap,
            descriptors={**(descriptors or {}), "report": report_end},
            env=env,
            cwd=cwd,
        )
        process = await backend.spawn(request)
        status: list[ExitStatus] = []

        async def reap() -> None:
            status.append(await process.wait())
            os.write(report_end, b"\n")  # so that a process that reports nothing is noticed

        async with trio.open_nursery() as nursery:
            nursery.start_soon(reap)
            text = await _read_line(report)
        assert text.strip(), f"the process ended without a report: {status}"
        assert status == [ExitStatus(code=0)], status
        facts: dict[str, Any] = json.loads(text)
        return facts


async def _read_line(descriptor: int) -> bytes:
    text = b""
    while not text.endswith(b"\n"):
        text += await _read_all(descriptor, 1)
    return text


async def _read_all(descriptor: int, size: int) -> bytes:
    """At least ``size`` bytes, whatever more there is; fewer at the end of file."""
    data = b""
    while len(data) < size:
        await trio.lowlevel.wait_readable(descriptor)
        piece = os.read(descriptor, 65536)
        if not piece:
            break
        data += piece
    return data


@contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    try:
        yield ends
    finally:
        for end in ends:
            os.close(end)


def _path(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"


def _open_descriptors() -> dict[str, str]:
    """The open descriptors of this process and what they lead to; empty without ``/proc``."""
    found: dict[str, str] = {}
    for number in os.listdir("/proc/self/fd") if _PROC else ():
        try:
            found[number] = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:
            pass  # the one that listed the directory
    return found


def _children() -> set[int]:
    """The children of this process, zombies included; empty without ``/proc``."""
    found: set[int] = set()
    for name in os.listdir("/proc") if _PROC else ():
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            continue  # gone meanwhile, or no process at all
        if name.isdigit() and int(fields[1]) == os.getpid():
            found.add(int(name))
    return found


def _is_gone(pid: int) -> bool:
    """Whether nothing, not even a zombie, has this process id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False
