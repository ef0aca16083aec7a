"""The teardown ladder, step by step in virtual time, and once against real processes."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from tractor_core.seams.spawn import ExitStatus
from tractor_core.supervision.ladder import GONE_AFTER_KILL, teardown
from tractor_core.supervision.policy import Budget, TeardownPolicy
from tractor_subprocess.process import SubprocessActor

POLICY = TeardownPolicy()


class FakeProcess:
    """Ends when told, and notes when it was told what."""

    def __init__(self, *, ignores_sigterm: bool = False) -> None:
        self.pid: int | None = 4242
        self.events: list[tuple[str, float]] = []
        self._ignores_sigterm = ignores_sigterm
        self._started = trio.current_time()
        self._ended = trio.Event()
        self._status: ExitStatus | None = None

    def note(self, event: str) -> None:
        self.events.append((event, round(trio.current_time() - self._started, 3)))

    def end(self, status: ExitStatus) -> None:
        if self._status is None:
            self._status = status
            self._ended.set()

    async def wait(self) -> ExitStatus:
        await self._ended.wait()
        assert self._status is not None
        return self._status

    def poll(self) -> ExitStatus | None:
        return self._status

    def terminate(self) -> None:
        self.note("SIGTERM")
        if not self._ignores_sigterm:
            self.end(ExitStatus(signal=signal.SIGTERM))

    def kill(self) -> None:
        self.note("SIGKILL")
        self.end(ExitStatus(signal=signal.SIGKILL))


def running(pid: int) -> bool:
    return False


def asks(process: FakeProcess, answer: bool = True, after: float = 0.0) -> Callable[[float], Awaitable[bool]]:
    async def request(time_left: float) -> bool:
        process.note(f"request {time_left:g}")
        await trio.sleep(after)
        return answer

    return request


async def test_a_child_that_ends_by_itself_sees_no_force(autojump_clock: trio.testing.MockClock) -> None:
    process = FakeProcess()

    async def request(time_left: float) -> bool:
        process.note("request")
        process.end(ExitStatus(code=0))
        await trio.sleep_forever()
        return True

    status = await teardown(process, request=request, policy=POLICY, stopped=running)
    assert status == ExitStatus(code=0)
    assert process.events == [("request", 0)]
    assert trio.current_time() - process._started < POLICY.ack


async def test_one_that_has_ended_already_is_only_reaped(autojump_clock: trio.testing.MockClock) -> None:
    process = FakeProcess()
    process.end(ExitStatus(code=3))
    for hard_kill in (False, True):
        status = await teardown(
            process, request=asks(process), policy=POLICY, stopped=running, hard_kill=hard_kill
        )
        assert status == ExitStatus(code=3)
    assert ("SIGTERM", 0) not in process.events
    assert not [event for event, _ in process.events if event.startswith("request")]


@pytest.mark.parametrize(
    ("ignores_sigterm", "events"),
    [
        (False, [("request 3", 0), ("SIGTERM", 3.0)]),
        (True, [("request 3", 0), ("SIGTERM", 3.0), ("SIGKILL", 4.0)]),
    ],
)
async def test_one_that_acknowledged_has_its_time(
    ignores_sigterm: bool, events: object, autojump_clock: trio.testing.MockClock
) -> None:
    process = FakeProcess(ignores_sigterm=ignores_sigterm)
    await teardown(process, request=asks(process, after=0.2), policy=POLICY, stopped=running)
    assert process.events == events


async def test_the_time_given_from_above_is_kept(autojump_clock: trio.testing.MockClock) -> None:
    process = FakeProcess(ignores_sigterm=True)
    await teardown(process, request=asks(process), policy=POLICY, time_left=3.0, stopped=running)
    assert process.events == [("request 1.7", 0), ("SIGTERM", 1.7), ("SIGKILL", 2.7)]


@pytest.mark.parametrize("answer", ["late", "no", "error"])
async def test_one_that_does_not_acknowledge_is_terminated_at_once(
    answer: str, autojump_clock: trio.testing.MockClock
) -> None:
    process = FakeProcess(ignores_sigterm=True)

    async def request(time_left: float) -> bool:
        if answer == "late":
            await trio.sleep(math.inf)
        if answer == "error":
            raise trio.BrokenResourceError
        return False

    await teardown(process, request=request, policy=POLICY, stopped=running)
    at = POLICY.ack if answer == "late" else 0
    assert process.events == [("SIGTERM", at), ("SIGKILL", at + POLICY.terminate)]


async def test_a_stopped_one_is_killed_without_ado(autojump_clock: trio.testing.MockClock) -> None:
    process = FakeProcess(ignores_sigterm=True)
    await teardown(process, request=asks(process), policy=POLICY, stopped=lambda pid: pid == 4242)
    assert process.events == [("SIGKILL", 0)]


async def test_one_that_is_stopped_meanwhile_is_killed_when_its_time_is_over(
    autojump_clock: trio.testing.MockClock,
) -> None:
    process = FakeProcess(ignores_sigterm=True)

    def stopped_later(pid: int) -> bool:
        return bool(process.events)

    await teardown(process, request=asks(process), policy=POLICY, stopped=stopped_later)
    assert process.events == [("request 3", 0), ("SIGKILL", 3.0)]


async def test_force_waits_for_the_hold_but_the_end_does_not(
    autojump_clock: trio.testing.MockClock,
) -> None:
    process = FakeProcess(ignores_sigterm=True)

    async def hold() -> None:
        process.note("hold")
        await trio.sleep(100)

    await teardown(process, request=asks(process, answer=False), policy=POLICY, hold=hold, stopped=running)
    assert process.events[1:] == [("hold", 0), ("SIGTERM", 100), ("SIGKILL", 101)]

    other = FakeProcess()

    async def hold_and_quit() -> None:
        other.note("hold")
        other.end(ExitStatus(code=0))
        await trio.sleep_forever()

    await teardown(other, request=asks(other, False), policy=POLICY, hold=hold_and_quit, stopped=running)
    assert [event for event, _ in other.events] == ["request 3", "hold"]


async def test_a_hold_that_fails_does_not_spare_the_process(autojump_clock: trio.testing.MockClock) -> None:
    process = FakeProcess()

    async def hold() -> None:
        raise ValueError("broken")

    status = await teardown(process, request=asks(process, False), policy=POLICY, hold=hold, stopped=running)
    assert status.signal == signal.SIGTERM


async def test_hard_kill_asks_nobody(autojump_clock: trio.testing.MockClock) -> None:
    process = FakeProcess()
    hold = trio.sleep_forever
    await teardown(process, request=asks(process), policy=POLICY, hard_kill=True, hold=hold, stopped=running)
    assert process.events == [("SIGKILL", 0)]


@pytest.mark.parametrize("hard_kill", [False, True])
async def test_what_not_even_a_kill_ends_is_given_up(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, hard_kill: bool
) -> None:
    class Undead(FakeProcess):
        def end(self, status: ExitStatus) -> None:
            pass

    process = Undead()
    began = trio.current_time()
    status = await teardown(
        process, request=asks(process, False), policy=POLICY, hard_kill=hard_kill, stopped=running
    )
    assert (status.code, status.signal, status.ok) == (None, None, False)
    assert process.events[-1][0] == "SIGKILL"
    assert trio.current_time() - began <= POLICY.budget(None).sigkill_at + GONE_AFTER_KILL
    assert "pid 4242 is not gone" in caplog.text


async def test_a_cancelled_caller_still_waits(autojump_clock: trio.testing.MockClock) -> None:
    process = FakeProcess(ignores_sigterm=True)
    with trio.CancelScope() as scope:
        scope.cancel()
        status = await teardown(process, request=asks(process), policy=POLICY, stopped=running)
    assert status.signal == signal.SIGKILL
    assert process.events[-1] == ("SIGKILL", 4.0)


# -- budgets ---------------------------------------------------------------------------------


def test_budget_of_the_levels() -> None:
    assert POLICY.budget(None) == Budget(3.0, 4.0)
    assert POLICY.budget(3.0) == Budget(pytest.approx(1.7), pytest.approx(2.7))
    assert POLICY.budget(1.7) == Budget(pytest.approx(0.5), pytest.approx(1.4))
    assert POLICY.budget(0) == POLICY.budget(-1) == Budget(0, 0)


seconds = st.floats(min_value=0, max_value=100)
policies = st.builds(TeardownPolicy, ack=seconds, graceful=seconds, terminate=seconds, margin=seconds)


@given(policies, st.integers(min_value=1, max_value=30))
def test_levels_do_not_add_up(policy: TeardownPolicy, depth: int) -> None:
    """Every level is done with its children before its own time is over, however deep the tree."""
    budget = policy.budget(None)
    assert budget.sigkill_at == policy.graceful + policy.terminate
    for _ in range(depth):
        time_left = budget.sigterm_at
        budget = policy.budget(time_left)
        assert 0 <= budget.sigterm_at <= budget.sigkill_at <= time_left
        assert budget.sigkill_at - budget.sigterm_at <= policy.terminate + 1e-9


@pytest.mark.parametrize("value", [-1, math.nan])
def test_a_policy_refuses_what_is_no_time(value: float) -> None:
    with pytest.raises(ValueError, match="graceful"):
        TeardownPolicy(graceful=value)


# -- real processes --------------------------------------------------------------------------

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
)


def started(source: str) -> SubprocessActor:
    """A process that has printed its first line."""
    popen = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE)
    assert popen.stdout is not None
    with popen.stdout:
        popen.stdout.readline()
    return SubprocessActor(popen)


async def unanswered(time_left: float) -> bool:
    return False


async def test_real_processes() -> None:
    policy = TeardownPolicy(terminate=0.1)
    process = started(STUBBORN)
    assert (await teardown(process, request=unanswered, policy=policy)).signal == signal.SIGKILL

    process = started("import time; print(flush=True); time.sleep(60)")
    assert (await teardown(process, request=unanswered, policy=policy)).signal == signal.SIGTERM
