"""Running the command line as users do: in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import trio

#: The command, beside the interpreter that runs this.
TRACTOR_CORE = Path(sys.executable).parent / "tractor-core"


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """``tractor-core`` with these arguments, and with additions to the environment."""
    return execute([str(TRACTOR_CORE), *arguments], environment)


def execute(command: list[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=25, check=False
    )


async def run_async(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The same beside other tasks."""
    return await trio.to_thread.run_sync(partial(run, *arguments, **environment))
