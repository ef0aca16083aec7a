"""``python tests/every_way.py [WAY ...]``: the end-to-end tests, whole, over every transport and backend.

Once for each of ``registries.EVERY``, or for those named (``ws-subprocess``): in every run each test that
takes its registry from a fixture goes that one way. Exits with 1 if any of the runs fails.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from registries import EVERY, METHOD_VARIABLE, TOGETHER, TRANSPORTS_VARIABLE, Way

TESTS = Path(__file__).resolve().parent


def run(way: Way) -> tuple[bool, str]:
    """Whether all passed, and pytest's closing line. What failed has been printed."""
    environment = {**os.environ, TRANSPORTS_VARIABLE: way.scheme, METHOD_VARIABLE: way.start_method}
    # The others make their own choice, and run with the rest of the suite.
    chosen = ["-k", str(way), str(TESTS / "e2e")]
    shared = ["-n", str(TOGETHER), "--dist", "worksteal"] if TOGETHER > 1 else []
    command = [sys.executable, "-m", "pytest", "-q", *shared, *chosen]
    done = subprocess.run(command, cwd=TESTS.parent, env=environment, stdout=subprocess.PIPE, text=True)
    passed = done.returncode == 0
    if not passed:
        print(done.stdout, flush=True)
    return passed, done.stdout.rstrip().rpartition("\n")[2]


def main(names: Sequence[str]) -> int:
    chosen = [way for way in EVERY if not names or str(way) in names]
    if unknown := set(names) - set(map(str, EVERY)):
        print(f"there is no {', '.join(sorted(unknown))}, only {', '.join(map(str, EVERY))}", file=sys.stderr)
        return 2
    began, failed = time.monotonic(), 0
    for way in chosen:
        passed, closing = run(way)
        failed += not passed
        print(f"{way}: {closing}", flush=True)
    seconds = time.monotonic() - began
    print(f"{len(chosen) - failed} of {len(chosen)} ways passed in {seconds:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
