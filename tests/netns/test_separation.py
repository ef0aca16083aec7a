"""Actors in two networks: the cable is cut, and mended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
import trustme
from separation import FAR, NEAR, Cable, two_namespaces

HERE = Path(__file__).parent

#: Real seconds in which a dead link must have been noticed at both ends, by what notices it: the bound that
#: ``cable_ends.py`` sets, or libzmq's own of 4 s, and time to be scheduled on a busy machine.
NOTICED = 20.0

CASES = [
    ("tcp", "heartbeat", "pulled"),
    ("zmq+tcp", "heartbeat", "silent"),
    ("ws", "heartbeat", "pulled"),
    ("tls", "heartbeat", "silent"),
    ("wss", "heartbeat", "pulled"),
    ("tcp", "kernel", "pulled"),
    ("tcp", "kernel", "silent"),
    ("ws", "kernel", "silent"),
    ("zmq+tcp", "transport", "pulled"),
    ("zmq+tcp", "transport", "silent"),
]


@pytest.fixture
def cable() -> Iterator[Cable]:
    with two_namespaces() as cable:
        yield cable


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A key, for binding what is no loopback address demands one, and certificates for both addresses."""
    key = tmp_path / "key"
    key.write_text("what both ends of a cable know")
    key.chmod(0o600)
    authority = trustme.CA()
    leaf = authority.issue_cert(NEAR, FAR)
    pems = {"CERT": leaf.cert_chain_pems[0], "KEY": leaf.private_key_pem, "CA": authority.cert_pem}
    found = {**os.environ, "TRACTOR_AUTH_KEY_FILE": str(key), "PYTHONPATH": os.pathsep.join(sys.path)}
    for name, pem in pems.items():
        path = tmp_path / f"{name}.pem"
        pem.write_to_path(path)
        path.chmod(0o600)
        found[f"TRACTOR_TLS_{name}"] = str(path)
    return found


@asynccontextmanager
async def program(command: list[str], environment: Mapping[str, str]) -> AsyncIterator[trio.Process]:
    async with trio.open_nursery() as nursery:
        run = partial(trio.run_process, stdin=subprocess.PIPE, stdout=subprocess.PIPE, check=False)
        process: trio.Process = await nursery.start(partial(run, command, env=environment, cwd=HERE))
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()


class Lines:
    """What a program prints, line by line."""

    def __init__(self, process: trio.Process) -> None:
        assert process.stdout is not None
        self._stream = process.stdout
        self._buffer = b""

    async def next(self) -> str:
        while b"\n" not in self._buffer:
            data = await self._stream.receive_some()
            assert data, "it has ended"
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode()


@pytest.mark.limit(60)
@pytest.mark.parametrize(("scheme", "bound", "how"), CASES)
async def test_a_cable_is_cut_and_mended(
    scheme: str, bound: str, how: str, cable: Cable, environment: dict[str, str]
) -> None:
    address = f"{scheme}://{FAR}:21616"
    python = [sys.executable, "-m", "cable_ends"]
    async with program(cable.far.command(*python, "serve", address, bound), environment) as far:
        await listening(cable)
        async with program(cable.near.command(*python, "talk", address, bound), environment) as near:
            lines = Lines(near)
            assert await lines.next() == "under way"
            cable.cut(how)
            cut = time.monotonic()
            with trio.fail_after(NOTICED):
                ended = {await lines.next() for _ in range(3)}
            print(f"{scheme}, {bound}, {how}: noticed after {time.monotonic() - cut:.1f} s")
            assert ended == {"call TransportClosed", "stream TransportClosed", "context TransportClosed"}
            cable.mend()
            assert near.stdin is not None
            await near.stdin.send_all(b"mended\n")
            with trio.fail_after(NOTICED):
                assert await lines.next() == "again 3"
                assert await lines.next() == "over there: call back TransportClosed, stream TransportClosed"
            assert await near.wait() == 0
        far.send_signal(signal.SIGTERM)
        assert await far.wait() == -signal.SIGTERM


async def listening(cable: Cable) -> None:
    """Wait until somebody listens at the far end."""
    while True:
        done = await trio.run_process(
            cable.far.command("cat", "/proc/net/tcp"), capture_stdout=True, check=True
        )
        # 0A: LISTEN.
        if b" 0A " in done.stdout:
            return
        await trio.sleep(0.05)
