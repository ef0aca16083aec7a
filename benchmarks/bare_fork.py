"""The floor of the forkserver: a process that has imported trio forks one that runs it, and answers.

``python -m benchmarks.bare_fork`` forks as many as each line of its input says, at once, and prints the
seconds until all have answered.
"""

from __future__ import annotations

import gc
import os
import sys
import time

import msgspec
import trio

__all__ = ["fork_all", "msgspec"]


async def _answer(descriptor: int) -> None:
    await trio.lowlevel.checkpoint()
    os.write(descriptor, b".")


def fork_all(count: int) -> float:
    """Seconds until ``count`` children have each run trio and answered; they end uncounted."""
    begin = time.perf_counter()
    receive, send = os.pipe()
    pids = []
    for _ in range(count):
        pid = os.fork()
        if not pid:
            trio.run(_answer, send)
            os._exit(0)
        pids.append(pid)
    answered = 0
    while answered < count:
        answered += len(os.read(receive, count))
    seconds = time.perf_counter() - begin
    for pid in pids:
        os.waitpid(pid, 0)
    os.close(receive)
    os.close(send)
    return seconds


if __name__ == "__main__":
    gc.freeze()
    for line in sys.stdin:
        print(fork_all(int(line)), flush=True)
