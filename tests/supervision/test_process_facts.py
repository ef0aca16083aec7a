from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tractor_core.supervision.process import cpu_count_usable, is_halted, is_stopped

needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="the state is read from /proc")


@needs_proc
def test_is_stopped_follows_the_process(tmp_path: Path) -> None:
    # A name that looks like the fields after it.
    program = tmp_path / "a) T 1"
    program.symlink_to(sys.executable)
    process = subprocess.Popen([program, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    try:
        assert not is_stopped(process.pid)
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        assert is_stopped(process.pid) and is_halted(process.pid)
        process.send_signal(signal.SIGCONT)
        os.waitid(os.P_PID, process.pid, os.WCONTINUED)
        assert not is_stopped(process.pid)
    finally:
        process.kill()
        process.communicate()
    assert not is_stopped(process.pid) and not is_halted(process.pid)


def test_cpu_count_is_usable() -> None:
    assert 1 <= cpu_count_usable() <= (os.cpu_count() or 1)
