"""Signals that end programs, sent to real ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading

import pytest
import trio
import trio.lowlevel

from tractor_core.app.death_signal import request_death_signal
from tractor_core.app.signals import drain_on_signals

#: Says "ready", sleeps until it is cancelled, says "unwound", and ends by the signal that did it.
DAEMON = textwrap.dedent(
    """
    import signal, sys, time, trio
    from tractor_core.app.signals import drain_on_signals, reraise

    async def main():
        with trio.CancelScope() as scope:
            async with drain_on_signals(lambda signum: scope.cancel(), {signals}) as drain:
                print("ready", flush=True)
                try:
                    await trio.sleep_forever()
                finally:
                    print("unwinding", drain.signum, flush=True)
                    {unwinding}
        print("unwound")
        return drain.signum

    signum = trio.run(main)
    reraise(signum)
    """
)


class Daemon:
    def __init__(self, signals: str = "(signal.SIGTERM, signal.SIGINT)", unwinding: str = "pass") -> None:
        source = DAEMON.format(signals=signals, unwinding=unwinding)
        self.process = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.output = self.process.stdout
        assert self.output.readline() == "ready\n"

    def finish(self) -> tuple[int, str]:
        with self.output:
            rest = self.output.read()
        return self.process.wait(), rest


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_drains_and_the_exit_status_tells(number: signal.Signals) -> None:
    daemon = Daemon()
    daemon.process.send_signal(number)
    assert daemon.finish() == (-number, f"unwinding {int(number)}\nunwound\n")


def test_the_second_signal_is_the_hard_path() -> None:
    daemon = Daemon(unwinding="time.sleep(60)")
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.output.readline() == "unwinding 15\n"
    # Repeated until it counts as another one, rather than the same one sent twice.
    while daemon.process.poll() is None:
        daemon.process.send_signal(signal.SIGTERM)
        try:
            daemon.process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
    assert daemon.finish() == (-signal.SIGTERM, "")


def test_a_signal_repeated_at_once_is_one_request() -> None:
    unwinding = "import os; [os.kill(os.getpid(), signal.SIGTERM) for _ in range(3)]"
    daemon = Daemon(unwinding=unwinding)
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.finish() == (-signal.SIGTERM, "unwinding 15\nunwound\n")


def test_a_signal_that_is_not_asked_for_keeps_its_meaning() -> None:
    daemon = Daemon(signals="(signal.SIGINT,)")
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.finish() == (-signal.SIGTERM, "")


async def test_dispositions_are_restored() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    numbers: list[int] = []
    called = trio.Event()

    def cancel(signum: int) -> None:
        numbers.append(signum)
        called.set()

    async with drain_on_signals(cancel, (signal.SIGTERM, signal.SIGINT)) as drain:
        assert signal.getsignal(signal.SIGTERM) is not before[0]
        assert signal.getsignal(signal.SIGINT) is not before[1]
        signal.raise_signal(signal.SIGTERM)
        await called.wait()
        assert drain.signum == signal.SIGTERM
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    assert numbers == [signal.SIGTERM]


async def test_a_handler_of_the_users_own_is_respected() -> None:
    seen: list[int] = []
    previous = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        async with drain_on_signals(lambda signum: None) as drain:
            signal.raise_signal(signal.SIGTERM)
        assert seen == [signal.SIGTERM]
        assert drain.signum is None
    finally:
        signal.signal(signal.SIGTERM, previous)


async def test_one_that_was_changed_meanwhile_is_left_alone() -> None:
    previous = signal.getsignal(signal.SIGTERM)
    try:
        async with drain_on_signals(lambda signum: None):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, previous)


def test_outside_the_main_thread_nothing_is_installed() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen: list[object] = []

    async def main() -> None:
        async with drain_on_signals(lambda signum: None):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    thread.join()
    assert seen == [before]


def run(source: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(source)],
        capture_output=True,
        text=True,
        timeout=25,
        check=False,
    )


def test_an_actor_ignores_the_terminal_and_obeys_sigterm() -> None:
    completed = run(
        """
        import os, signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])
        from tractor_core.app.signals import ignore_terminal_signals
        ignore_terminal_signals()
        os.kill(os.getpid(), signal.SIGINT)
        read_end, write_end = os.pipe()
        os.close(read_end)
        try:
            os.write(write_end, b"x")
        except BrokenPipeError:
            print("alive", flush=True)
        os.kill(os.getpid(), signal.SIGTERM)
        """
    )
    assert (completed.returncode, completed.stdout) == (-signal.SIGTERM, "alive\n")


def test_output_is_not_lost_when_a_program_ends_by_a_signal() -> None:
    completed = run(
        """
        from tractor_core.app.signals import reraise
        print("last words")
        reraise(2)
        """
    )
    assert (completed.returncode, completed.stdout) == (-signal.SIGINT, "last words\n")


@pytest.mark.parametrize(("spawner", "alive"), [("os.getppid()", True), ("0", True), ("os.getpid()", False)])
def test_the_parent_is_checked_after_the_death_signal_is_set(spawner: str, alive: bool) -> None:
    completed = run(
        f"""
        import os
        from tractor_core.app.death_signal import request_death_signal
        print(request_death_signal({spawner}))
        """
    )
    assert completed.stdout == f"{alive}\n", completed.stderr


def test_the_death_signal_may_be_asked_for_anywhere() -> None:
    assert request_death_signal(os.getppid())


#: Holds the interpreter lock for far longer than any test may take.
BUSY_ORPHAN = """
    import sys, signal
    from tractor_core.app.death_signal import arm_orphan_alarm
    signal.signal(signal.SIGHUP, signal.Handlers[sys.argv[2]])
    print(arm_orphan_alarm(int(sys.argv[1])), flush=True)
    3 ** (10 ** 9)
"""


@pytest.mark.parametrize("hangups", ["SIG_DFL", "SIG_IGN"])
@pytest.mark.skipif(sys.platform != "linux", reason="pipes send signals on Linux only")
def test_an_orphan_that_holds_the_interpreter_lock_is_ended_by_the_kernel(hangups: str) -> None:
    lifeline, lifeline_end = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(BUSY_ORPHAN), str(lifeline), hangups],
        pass_fds=(lifeline,),
        stdout=subprocess.PIPE,
    )
    os.close(lifeline)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == b"True\n"
    os.close(lifeline_end)
    assert process.wait() == -signal.SIGALRM


def test_a_program_that_ignores_hangups_keeps_doing_so() -> None:
    completed = run(
        """
        import os, signal
        from tractor_core.app.death_signal import arm_orphan_alarm
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        read_end, write_end = os.pipe()
        print(arm_orphan_alarm(read_end))
        os.kill(os.getpid(), signal.SIGHUP)
        """
    )
    assert (completed.returncode, completed.stdout) == (0, "True\n")


@pytest.mark.skipif(sys.platform != "linux", reason="pipes send signals on Linux only")
def test_a_stopped_process_is_woken_at_the_end_of_any_lifeline() -> None:
    first, second = os.pipe(), os.pipe()
    program = """
        import os, signal, sys
        from tractor_core.app.death_signal import wake_at_end
        print(wake_at_end(*map(int, sys.argv[1:])), flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(3)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), str(first[0]), str(second[0])],
        pass_fds=(first[0], second[0]),
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == b"True\n"
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)
    for end in (first[0], second[0], second[1]):
        os.close(end)
    assert process.wait() == 3
    os.close(first[1])
