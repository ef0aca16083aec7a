"""Hold a process as a debugger does, for some seconds: ``tracer.py PID SECONDS``."""

from __future__ import annotations

import ctypes
import os
import sys
import time

PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH = 0x4206, 0x4207, 17


def main() -> None:
    pid, seconds = int(sys.argv[1]), float(sys.argv[2])
    libc = ctypes.CDLL(None, use_errno=True)
    for request in (PTRACE_SEIZE, PTRACE_INTERRUPT):
        if libc.ptrace(request, pid, None, None) < 0:
            sys.exit(f"ptrace: {os.strerror(ctypes.get_errno())}")
    os.waitpid(pid, 0x40000000)  # __WALL
    print("traced", flush=True)
    time.sleep(seconds)
    libc.ptrace(PTRACE_DETACH, pid, None, None)


if __name__ == "__main__":
    main()
