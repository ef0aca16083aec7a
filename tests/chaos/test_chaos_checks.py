"""The chaos suite itself: plans come from their seed alone, and every invariant can be broken."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from chaos import faults, invariants, processes
from chaos.__main__ import parse
from chaos.journal import VARIABLE, Entry, Journal, Reader, outcomes_of
from chaos.plan import BACKENDS, FAULTS, HARMLESS, MOST_ACTORS, SCHEMES, WORKS, ActorPlan, Fault, Plan, draw

import tractor_core as tractor

PLANS = [draw("checks", index) for index in range(200)]


# -- the command line ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        *("--trees -1", "--trees 0", "--together 0", "--together -2", "--only -5", "--first -1"),
        *("--minutes -1", "--minutes 0", "--minutes nan"),
    ],
)
def test_a_campaign_that_would_show_nothing_is_refused(
    arguments: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(arguments.split())
    assert caught.value.code == 2
    assert f"{arguments.split()[0]} must be" in capsys.readouterr().err.splitlines()[-1]


def test_a_campaign_may_be_of_the_first_tree_alone() -> None:
    options = parse(["--only", "0", "--first", "0", "--trees", "1", "--together", "1", "--minutes", "0.1"])
    assert (options.only, options.first, options.trees, options.together) == (0, 0, 1, 1)


def test_a_campaign_without_a_tree_is_no_success() -> None:
    tests = Path(__file__).resolve().parent.parent
    finished = subprocess.run(
        [sys.executable, "-m", "chaos", "--minutes", "1e-9"], cwd=tests, capture_output=True, text=True
    )
    assert finished.returncode == 2
    assert "no tree was run" in finished.stderr


# -- plans -----------------------------------------------------------------------------------------------


def test_a_seed_gives_the_same_plan_again() -> None:
    assert [draw("checks", index) for index in range(200)] == PLANS
    assert draw("checks", 0) != draw("other", 0)
    assert len({plan.describe() for plan in PLANS}) == len(PLANS)


def test_a_plan_travels() -> None:
    for plan in PLANS:
        assert msgspec.json.decode(msgspec.json.encode(plan), type=Plan) == plan


def test_plans_leave_nothing_out() -> None:
    actors = [actor for plan in PLANS for actor in plan.root.everyone()]
    links = {(actor.scheme, actor.backend) for actor in actors}
    assert links == {(scheme, backend) for scheme in SCHEMES for backend in BACKENDS}
    assert {work.kind for actor in actors for work in actor.works} == set(WORKS)
    assert {fault.kind for plan in PLANS for fault in plan.faults} == set(FAULTS)
    assert max(len(list(plan.root.everyone())) for plan in PLANS) == MOST_ACTORS
    assert any(fault.victim == "root" for plan in PLANS for fault in plan.faults)
    assert any(plan.faults and {fault.kind for fault in plan.faults} <= HARMLESS for plan in PLANS)


# -- invariants ------------------------------------------------------------------------------------------


def quiet_plan(*faults: str) -> Plan:
    root = ActorPlan("root", "tcp", "subprocess", True)
    return Plan("none", 0, True, root, (), tuple(Fault(kind, "root", 0, 0.1) for kind in faults), "leave")


def read(path: Path, *entries: Entry) -> Reader:
    path.write_bytes(b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries))
    reader = Reader(path)
    assert reader.update() == len(entries)
    return reader


@pytest.mark.parametrize(
    ("outcome", "faulty", "fine"),
    [
        ("result", (), True),
        ("ActorDied", ("kill",), True),
        ("RemoteActorError[TransportClosed]", ("cut",), True),
        ("ContextCancelled ActorDied", ("kill",), True),
        ("TooSlowError", ("stop",), True),
        ("OSError", ("descriptors",), True),
        ("ActorTooSlowError", ("delay",), True),
        ("ActorDied", ("delay",), False),
        ("TransportClosed", (), False),
        ("TooSlowError", ("kill",), False),
        ("OSError", ("kill",), False),
        ("AssertionError", ("kill",), False),
        ("RemoteActorError[KeyError]", ("kill",), False),
        ("ActorDied InternalError", ("kill",), False),
        ("RuntimeError", ("kill",), False),
    ],
)
def test_which_outcomes_are_allowed(outcome: str, faulty: Any, fine: bool, tmp_path: Path) -> None:
    journal = read(tmp_path / "journal", Entry("end", "actor-1", 7, "7/0 calls root", outcome, "why"))
    assert (list(invariants.outcomes(quiet_plan(*faulty), journal)) == []) is fine


def test_who_leaves_in_good_order_must_not_wait_for_anything(tmp_path: Path) -> None:
    begin, bye = Entry("begin", "actor-1", 7, "7/0 calls root"), Entry("bye", "actor-1", 7)
    assert list(invariants.endings(read(tmp_path / "killed", begin))) == []
    assert (
        list(invariants.endings(read(tmp_path / "ended", begin, Entry("end", "a", 7, begin.work), bye))) == []
    )
    [wrong] = invariants.endings(read(tmp_path / "waiting", begin, bye))
    assert "while it waited for 7/0 calls root" in wrong


def test_nobody_is_lost_where_nothing_harmful_was_done(tmp_path: Path) -> None:
    journal = read(tmp_path / "journal", Entry("hello", "actor-1", 7, urls=("tcp://127.0.0.1:1",)))
    assert list(invariants.losses(quiet_plan("kill"), journal, lambda pid: False)) == []
    assert list(invariants.losses(quiet_plan("noise"), journal, lambda pid: True)) == []
    [wrong] = invariants.losses(quiet_plan("noise", "delay"), journal, lambda pid: False)
    assert "actor-1 (7) was lost" in wrong


def test_what_is_left_is_found(tmp_path: Path) -> None:
    [wrong] = invariants.leftovers_in_root(
        read(tmp_path / "journal", Entry("held", "root", 7, text="pipe: 1 -> 2"))
    )
    assert "pipe: 1 -> 2" in wrong
    directory = tmp_path / "run"
    (directory / "deeper").mkdir(parents=True)
    assert list(invariants.files(directory)) == []
    (directory / "deeper" / "7-ab.sock.lock").touch()
    assert list(invariants.files(directory)) == [f"left behind: {directory}/deeper/7-ab.sock.lock"]


@pytest.mark.parametrize(
    "line",
    [
        "Traceback (most recent call last):",
        "x.py:1: ResourceWarning: unclosed <socket.socket fd=7>",
        "Exception ignored in: <function f>",
        "RuntimeWarning: coroutine 'f' was never awaited",
    ],
)
def test_bugs_show_on_standard_error(line: str) -> None:
    fine = "actor actor-3 failed while it was ending: exit code 1\n│ Traceback (most recent call last):\n"
    assert list(invariants.complaints(fine, quiet_plan())) == []
    [wrong] = invariants.complaints(f"{fine}{line}\n  more", quiet_plan("descriptors"))
    assert line in wrong and "more" in wrong


#: What Python says of a line of ``-c``: since 3.13 also the line.
OF_THE_LINE = pytest.mark.parametrize(
    "line", ["", "    from multiprocessing.spawn import spawn_main; spawn_main()\n      ~~~~~~~~~~^^\n"]
)


@OF_THE_LINE
def test_who_boots_without_descriptors_may_complain(line: str) -> None:
    said = (
        f'Traceback (most recent call last):\n  File "<string>", line 5, in <module>\n{line}'
        "ModuleNotFoundError: No module named 'tractor_subprocess'\n"
        "sys:1: ResourceWarning: unclosed file <_io.BufferedReader name=19>\n"
    )
    assert list(invariants.complaints(said, quiet_plan("descriptors"))) == []
    assert len(list(invariants.complaints(said, quiet_plan("kill")))) == 1
    assert len(list(invariants.complaints(said * 2 + "Exception ignored", quiet_plan("descriptors")))) == 1


@OF_THE_LINE
def test_who_boots_for_a_dead_parent_may_complain(line: str) -> None:
    said = (
        f'Traceback (most recent call last):\n  File "<string>", line 1, in <module>\n{line}'
        '  File "/lib/python3.11/multiprocessing/spawn.py", line 122, in spawn_main\n'
        "    exitcode = _main(fd, parent_sentinel)\n               ^^^^^^^^^^^^^^^^^^^^^^^^^^\n"
        '  File "/lib/python3.11/multiprocessing/spawn.py", line 130, in _main\n'
        "    preparation_data = reduction.pickle.load(from_parent)\n"
        "EOFError: Ran out of input\n"
    )
    for sudden in ("kill", "stop"):
        assert list(invariants.complaints(said, quiet_plan(sudden))) == []
    assert len(list(invariants.complaints(said, quiet_plan("delay")))) == 1
    assert len(list(invariants.complaints(said.replace("spawn.py", "other.py"), quiet_plan("kill")))) == 1


@pytest.mark.parametrize(
    "line",
    [
        "Assertion failed: !_io_error (src/stream_engine_base.cpp:310)",
        "Too many open files (src/ipc_listener.cpp:297)",
    ],
)
def test_the_known_assertions_of_libzmq_are_told_from_other_ends(line: str) -> None:
    said = f"a line\n{line}\n"
    assert invariants.ended_by_libzmq(said) and invariants.ended_by_libzmq(said, -6)
    assert not invariants.ended_by_libzmq(said, -9)
    assert not invariants.ended_by_libzmq("Assertion failed: false (src/other.cpp:1)\n", -6)


# -- the journal -----------------------------------------------------------------------------------------


async def test_every_block_is_noted_with_its_outcome(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path / "journal"))
    async with journal.noted("me", "good"):
        pass
    async with journal.noted("me", "bad"):
        raise ExceptionGroup("several", [OSError(24, "none left"), tractor.ActorDied("dead")])
    with trio.CancelScope() as scope:
        async with journal.noted("me", "left"):
            scope.cancel()
            await trio.lowlevel.checkpoint()
    with trio.CancelScope() as scope:
        async with journal.noted("me", "left in pieces"), trio.open_nursery() as tasks:
            tasks.start_soon(trio.sleep_forever)
            scope.cancel()
            raise KeyError("as well")
    journal.close()
    reader = Reader(tmp_path / "journal")
    reader.update()
    ended = [(entry.work.partition(" ")[2], entry.outcome) for entry in reader.of("end")]
    assert ended == [
        ("good", "result"),
        ("bad", "OSError ActorDied"),
        ("left", "cancelled"),
        ("left in pieces", "KeyError cancelled"),
    ]
    assert reader.open_works() == []


def test_what_a_relayed_error_was_at_its_origin() -> None:
    error = tractor.RemoteActorError(
        "x", src_type_str="builtins:KeyError", boxed_type_str="builtins:KeyError"
    )
    assert outcomes_of(error)[0] == "RemoteActorError[KeyError]"


# -- faults ----------------------------------------------------------------------------------------------


#: Sits on one connection.
VICTIM = """
import socket, sys, time
connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
time.sleep(60)
"""


async def test_faults_strike_a_process_from_outside(tmp_path: Path) -> None:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    journal = tmp_path / "journal"
    environment = {**os.environ, VARIABLE: str(journal)}
    with subprocess.Popen([sys.executable, "-c", VICTIM, str(port)], env=environment) as process:
        async with listener, await listener.accept() as here:
            assert list(processes.members(journal)) == [process.pid]
            await faults.inflict("inject", process.pid, [], 0.5)
            assert len(await here.receive_some(1000)) == 200
            await faults.inflict("cut", process.pid, [], 0.5)
            assert await here.receive_some() == b""
            await faults.inflict("stop", process.pid, [], 0.5)
            while processes.state(process.pid) != "T":
                await trio.sleep(0.01)
            await faults.inflict("delay", process.pid, [], 0.01)
            while processes.state(process.pid) == "T":
                await trio.sleep(0.01)
            with pytest.raises(faults.Missed):
                await faults.inflict("template", process.pid, [], 0.5)
            await faults.inflict("kill", process.pid, [], 0.5)
            while processes.alive(process.pid):
                await trio.sleep(0.01)
            assert processes.zombies(os.getpid()) == [process.pid]
            assert process.wait() == -signal.SIGKILL
            with pytest.raises(faults.Missed):
                await faults.inflict("kill", process.pid, [], 0.5)
            assert processes.members(journal) == {}
