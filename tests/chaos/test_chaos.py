"""A short campaign: one that is the same every time, and one that is new. Both print their seeds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

#: Makes ``chaos`` importable under the name by which these tests know it.
IMPORT_ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.limit(240)
@pytest.mark.parametrize("choice", [("--seed", "the usual"), ()], ids=["the usual seed", "a new seed"])
def test_no_invariant_is_broken(choice: tuple[str, ...]) -> None:
    """In a program of its own, for it dials its trees as a client with an environment of its own."""
    finished = subprocess.run(
        [sys.executable, "-m", "chaos", "--minutes", "0.4", "--together", "4", *choice],
        cwd=IMPORT_ROOT,
        env={**os.environ, "PYTHONPATH": str(IMPORT_ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    print(finished.stdout)
    assert finished.returncode == 0
    assert "broken invariants: 0" in finished.stdout
