from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tractor_core.supervision.process import cpu_count_usable, is_ending, is_halted, is_stopped

needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="the state is read from /proc")

PIPES: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}


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


@needs_proc
def test_who_sees_a_process_close_its_descriptors_finds_it_ending() -> None:
    """Whichever of its threads is the last to let go of them."""
    code = "import threading, time, os; threading.Thread(target=time.sleep, args=(60,)).start(); "
    for _ in range(10):
        process = subprocess.Popen([sys.executable, "-c", code + "os.read(0, 1); os._exit(3)"], **PIPES)
        with process:
            assert not is_ending(process.pid)
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(b".")
            process.stdin.flush()
            assert process.stdout.read() == b""
            assert is_ending(process.pid)
        assert is_ending(process.pid), "it is gone"


def test_cpu_count_is_usable() -> None:
    assert 1 <= cpu_count_usable() <= (os.cpu_count() or 1)
