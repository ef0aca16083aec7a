"""Two short campaigns, which print their seeds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

#: Makes ``chaos`` importable under the name by which these tests know it.
IMPORT_ROOT = Path(__file__).resolve().parent.parent


# The same trees every time: a change is to be judged by what it does, not by the day it is tested on.
# ``python -m tests.chaos`` without a seed finds new ones.
@pytest.mark.limit(240)
@pytest.mark.parametrize("seed", ["the usual", "another"])
def test_no_invariant_is_broken(seed: str) -> None:
    """In a program of its own, for it dials its trees as a client with an environment of its own."""
    finished = subprocess.run(
        [sys.executable, "-m", "chaos", "--minutes", "0.4", "--together", "4", "--seed", seed],
        cwd=IMPORT_ROOT,
        env={**os.environ, "PYTHONPATH": str(IMPORT_ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    print(finished.stdout)
    assert finished.returncode == 0
    assert "broken invariants: 0" in finished.stdout
