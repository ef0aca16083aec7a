"""What happens while nobody looks: before serving, while computing, at the end of the run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trio
from zmq_peer import OPTIONS

import tractor_zmq
from tractor_core.seams import Connection, TransportOptions

FLEETING = """
import sys, trio, tractor_zmq
from zmq_peer import OPTIONS

async def main():
    transport = tractor_zmq.transport
    connection = await transport.connect(transport.parse(sys.argv[1]), OPTIONS)
    connection.send_nowait([b"I was", b"here"])
    await connection.aclose()

trio.run(main)
"""


async def test_a_peer_that_came_and_went_while_we_computed_was_heard() -> None:
    listener = await tractor_zmq.transport.listen(tractor_zmq.transport.default_bind(), OPTIONS)
    heard: list[bytes] = []
    done = trio.Event()

    async def handler(connection: Connection) -> None:
        while frames := await connection.receive():
            heard.extend(bytes(frame) for frame in frames)
        done.set()

    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve, handler)
        here = str(Path(__file__).parent)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([here, *filter(None, sys.path)])}
        peer = subprocess.Popen([sys.executable, "-c", FLEETING, listener.address.url], env=environment)
        # It needs this process for the CURVE handshake only, one glance at the sockets; the rest of its
        # life passes between two glances.
        deadline = time.monotonic() + 10
        while peer.poll() is None and time.monotonic() < deadline:
            time.sleep(0.3)
            for _ in range(3):
                await trio.lowlevel.checkpoint()
        assert peer.returncode == 0
        await done.wait()
        nursery.cancel_scope.cancel()
    await listener.aclose()
    assert heard == [b"I was", b"here"]


async def test_dialling_a_listener_that_is_not_served_takes_the_time_given() -> None:
    listener = await tractor_zmq.transport.listen(tractor_zmq.transport.default_bind(), OPTIONS)
    with pytest.raises(TimeoutError):
        await tractor_zmq.transport.connect(
            listener.address, TransportOptions(key=OPTIONS.key, connect_timeout=0.2)
        )
    await listener.aclose()


async def test_a_closed_listener_frees_its_address_at_once() -> None:
    transport = tractor_zmq.transport
    address = transport.default_bind()
    for _ in range(20):
        listener = await transport.listen(address, OPTIONS)
        address = listener.address
        await listener.aclose()


async def test_two_listeners_share_a_run_and_not_their_keys() -> None:
    transport = tractor_zmq.ipc_transport
    other = TransportOptions(key=b"o" * 32, connect_timeout=3.0)
    served: list[bytes] = []

    async def handler(connection: Connection) -> None:
        assert connection.facts.certificate is not None
        served.append(connection.facts.certificate)

    async with trio.open_nursery() as nursery:
        listeners = [
            await transport.listen(transport.default_bind(), options) for options in (OPTIONS, other)
        ]
        for listener in listeners:
            await nursery.start(listener.serve, handler)
        for listener, options in zip(listeners, (OPTIONS, other), strict=True):
            connection = await transport.connect(listener.address, options)
            assert list(await connection.receive()) == []
            await connection.aclose()
        nursery.cancel_scope.cancel()
    for listener in listeners:
        await listener.aclose()
    assert len(set(served)) == 2


def test_a_run_that_ends_with_a_stopped_peer_ends_soon() -> None:
    """What cannot be written any more is given up after the linger, not waited for."""
    script = Path(__file__).with_name("zmq_peer.py")

    async def main() -> None:
        with trio.fail_after(10):
            transport = tractor_zmq.transport
            with subprocess.Popen(
                [sys.executable, str(script), "listen", "zmq://127.0.0.1:0"], stdout=-1
            ) as peer:
                assert peer.stdout is not None
                address = transport.parse(peer.stdout.readline().decode().strip())
                connection = await transport.connect(address, OPTIONS)
                peer.send_signal(19)
                while not connection.pending:
                    connection.send_nowait([bytes(100_000)])
                await connection.aclose()
                peer.kill()

    trio.run(main)
