"""Whole programs that serve until they are told to stop, beside the one that tests them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import meeting_endpoints
import trio

import tractor_core as tractor

HERE = str(Path(__file__).parent)

_PROGRAM = """
import sys
sys.path.insert(0, {here!r})
import tractor_core as tractor
from tractor_core import Limits
if __name__ == "__main__":
    tractor.run_daemon(["meeting_endpoints"], {options})
"""


class Daemon:
    """One such program. What it writes to standard error goes to a file."""

    def __init__(self, environment: Mapping[str, str], options: Mapping[str, Any]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        written = ", ".join(f"{name}={value!r}" for name, value in options.items())
        self.process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM.format(here=HERE, options=written)],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stderr=self._errors,
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    def errors(self) -> list[str]:
        """The lines on its standard error so far."""
        # Not moved: the descriptor shares its position with the writer's.
        size = os.fstat(self._errors.fileno()).st_size
        return os.pread(self._errors.fileno(), size, 0).decode().splitlines()

    def resident(self) -> int:
        """The memory it really uses (bytes)."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"process {self.pid} has no memory")

    async def ended(self) -> int:
        """Wait for its end; the exit code."""
        while self.process.poll() is None:
            await trio.sleep(0.01)
        return self.process.returncode

    async def kill(self) -> None:
        self.process.kill()
        await self.ended()

    async def close(self) -> None:
        """End it, gracefully while that lasts."""
        with trio.CancelScope(shield=True):
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
            with trio.move_on_after(5):
                await self.ended()
            await self.kill()
            self._errors.close()


@asynccontextmanager
async def daemon(
    registry: str, *, environment: Mapping[str, str] | None = None, key: str | None = None, **options: Any
) -> AsyncIterator[Daemon]:
    """A daemon that is the registrar at ``registry``, from when it answers until the block ends.

    ``key`` is what one needs to be let in, where the cookie will not do.
    """
    options = {"registry_addrs": [registry], "name": "daemon", **options}
    started = Daemon(environment or {}, options)
    try:
        with trio.fail_after(15):
            await answering(registry, key if key is not None else options.get("auth_key"), started)
        yield started
    finally:
        await started.close()


async def answering(url: str, key: str | None, program: Daemon) -> None:
    """Wait until the program answers there."""
    while program.process.poll() is None:
        try:
            async with tractor.open_portal(url, auth_key=key, name="early-bird") as portal:
                await portal.run(meeting_endpoints.whoami)
            return
        except OSError:
            await trio.sleep(0.02)
    raise AssertionError(f"the daemon ended with {program.process.returncode}: {program.errors()}")
