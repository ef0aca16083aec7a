"""What libzmq does with a connection that is closed or not read, when the peer is killed then.

Where an engine's input is stopped, libzmq 4.3 ends the process at the next heartbeat.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import zmq
from zmq_brute import begin, hesitant_socket
from zmq_peer import OPTIONS
from zmq_quiet import PAUSE, Quiet
from zmq_victim import FRAMES

import tractor_zmq
from tractor_core.seams.socket_paths import fresh_path
from tractor_core.testing.check_transport import connected_pair
from tractor_zmq.connection import ZmqConnection
from tractor_zmq.descriptors import Wire, describe, unsent
from tractor_zmq.lingering import close
from tractor_zmq.options import DATA, END

HERE = Path(__file__).parent


class Program:
    """A script of this directory; it says what it does, a line each."""

    def __init__(self, script: str, role: str, place: str, *more: str) -> None:
        self.role = role
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / script), role, place, *more],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def hears(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def told(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def ends(self) -> list[str]:
        """Wait for it, and insist that all is well; what it said last."""
        assert self.process.stdout is not None and self.process.stderr is not None
        # Not communicate(), which misses what came in one piece with the line that was heard before.
        said, complaints = self.process.stdout.read(), self.process.stderr.read()
        assert self.process.wait(10) == 0, complaints
        return said.splitlines()


@pytest.fixture
def start() -> Iterator[Callable[..., Program]]:
    with ExitStack() as stack:

        def start(script: str, role: str, place: str, *more: str) -> Program:
            program = Program(script, role, place, *more)
            stack.enter_context(program.process)
            stack.callback(program.process.kill)
            return program

        yield start


@contextmanager
def socket_file() -> Iterator[str]:
    path = fresh_path()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        yield str(path)
    finally:
        path.unlink(missing_ok=True)
        Path(f"{path}.lock").unlink(missing_ok=True)


def quiet(*programs: Program) -> None:
    """Wait until what these have sent is where it can get to."""
    look = Quiet(*(program.process.pid for program in programs)).look
    deadline = time.monotonic() + 10
    while not look():
        assert time.monotonic() < deadline, "they do not come to rest"
        time.sleep(PAUSE)


def meet(start: Callable[..., Program], role: str, path: str, *more: str) -> tuple[Program, Program]:
    """The victim in this role, and the peer that it is connected to."""
    if "listen" in role:
        victim = start("zmq_victim.py", role, f"zmq+ipc://{path}", *more)
        assert victim.hears().endswith(path)
        brute = start("zmq_brute.py", "dial", f"ipc://{path}")
    else:
        brute = start("zmq_brute.py", "listen", f"ipc://{path}")
        assert brute.hears() == "bound"
        victim = start("zmq_victim.py", role, f"zmq+ipc://{path}", *more)
    assert brute.hears() == "up"
    return victim, brute


@pytest.mark.parametrize("role", ["compute-dial", "compute-listen"])
def test_a_flood_while_we_compute_from_a_peer_that_is_then_killed(
    start: Callable[..., Program], role: str
) -> None:
    """That is noticed as a violation when read, also by who reads as fast as it can."""
    with socket_file() as path:
        victim, brute = meet(start, role, path)
        assert victim.hears() == "away"
        brute.told("go")
        assert brute.hears() == "sent"
        quiet(victim, brute)
        brute.kill()
        time.sleep(0.5)  # several heartbeats
        victim.told("come back")
        said = victim.ends()
    assert "more than its window" in said[0]
    assert said[-1] == "the end"


@pytest.mark.parametrize("role", ["dial", "listen"])
def test_a_peer_that_is_killed_while_we_linger(start: Callable[..., Program], role: str) -> None:
    """It had taken nothing, and sends on: what was closed is stuck."""
    with socket_file() as path:
        victim, brute = meet(start, role, path, "patient")
        victim.told("do not compute when unbinding")
        assert victim.hears() == "closed"
        brute.told("go")
        assert brute.hears() == "sent"
        quiet(victim, brute)
        brute.kill()
        began = time.monotonic()
        assert victim.ends()[-1] == "the end"
        assert time.monotonic() - began < 10  # there is nobody left to linger for


@pytest.mark.parametrize("role", ["listen", "listen-briefly"])
def test_a_peer_that_is_killed_while_we_unbind(start: Callable[..., Program], role: str) -> None:
    """Something else computes from then on, so that this cannot go on. The peer does not go by itself."""
    with socket_file() as path:
        victim, brute = meet(start, role, path)
        assert victim.hears() == "closed"
        assert victim.hears() == "unbinding"
        brute.told("go")
        assert brute.hears() == "sent"
        quiet(victim, brute)
        brute.kill()
        time.sleep(0.5)  # several heartbeats
        victim.told("go on")
        assert victim.ends() == ["the end"]


@pytest.mark.parametrize("responsive", [True, False])
@pytest.mark.parametrize("role", ["dial", "listen"])
async def test_no_socket_is_closed_over_a_living_connection(
    role: str, responsive: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the peer goes by itself when told, or does nothing."""
    living: list[bool] = []
    wires: list[tuple[int, Wire]] = []

    def look() -> None:
        # libzmq tells of the end a moment before it lets go of the descriptor.
        deadline = time.monotonic() + 1
        for number, wire in wires:
            while (lives := unsent(number, wire.inode) is not None) and time.monotonic() < deadline:
                time.sleep(0.001)
            living.append(lives)

    def closed(sock: zmq.Socket[bytes], monitor: zmq.Socket[bytes], linger: int) -> None:
        look()
        close(sock, monitor, linger)

    def unbound(sock: zmq.Socket[bytes], endpoint: str) -> None:
        look()
        unbind(sock, endpoint)

    unbind = zmq.Socket.unbind
    if role == "dial":
        monkeypatch.setattr("tractor_zmq.lingering.close", closed)
        monkeypatch.setattr("tractor_zmq.dialling.close", closed)
    else:
        monkeypatch.setattr(zmq.Socket, "unbind", unbound)
    async with connected_pair(tractor_zmq.transport)(OPTIONS) as (dialled, accepted):
        assert isinstance(dialled, ZmqConnection) and isinstance(accepted, ZmqConnection)
        here, there = (dialled, accepted) if role == "dial" else (accepted, dialled)
        number = dialled._link._descriptor if role == "dial" else accepted._link.visitor.descriptor  # type: ignore[attr-defined]
        wire = describe(number)
        assert wire is not None
        wires.append((number, wire))
        leave = type(there._link).leave
        if not responsive:
            monkeypatch.setattr(type(there._link), "leave", lambda *_, **__: None)
        here.send_nowait([b"hello"])
        await here.aclose()
    leave(there._link, at_once=True)
    for thread in threading.enumerate():
        if thread.name == "tractor_zmq linger":
            thread.join(5)
    assert living and not any(living)


@pytest.mark.parametrize("role", ["dial", "listen"])
def test_what_was_sent_last_reaches_who_reads_late(start: Callable[..., Program], role: str) -> None:
    """A window full, most of which is with libzmq still when everything here has been closed."""
    peer = "listen" if role == "dial" else "dial"
    with socket_file() as path, zmq.Context() as context, hesitant_socket(context, peer) as sock:
        if role == "dial":
            sock.bind(f"ipc://{path}")
        victim = start("zmq_victim.py", role, f"zmq+ipc://{path}", "patient")
        victim.told("do not compute when unbinding")
        if role == "listen":
            assert victim.hears().endswith(path)
        *_, token = begin(sock, peer, f"ipc://{path}")
        assert victim.hears() == "closed"
        time.sleep(0.4)
        received = []
        for _ in range(FRAMES + 1):
            assert sock.poll(5000)
            received.append(sock.recv_multipart()[-1])
        sock.close()
        assert victim.ends()[-1] == "the end"
    numbers = [b"%d" % number for number in range(FRAMES)]
    assert [message[:18] for message in received[:FRAMES]] == [DATA + token + number for number in numbers]
    assert received[FRAMES] == END + token
