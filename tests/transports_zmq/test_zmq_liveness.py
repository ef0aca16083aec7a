"""Real processes at the other end: killed, stopped, computing; and many of them at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import trio
from zmq_peer import OPTIONS, send_all, transport_of
from zmq_quiet import PAUSE, Quiet

import tractor_zmq
from tractor_core.errors import TransportClosed
from tractor_core.seams import Connection, Listener
from tractor_core.trionics import collapse_eg

SCRIPT = Path(__file__).with_name("zmq_peer.py")
SCHEMES = ["zmq+tcp", "zmq+ipc"]


@contextmanager
def peer_process(role: str, url: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(SCRIPT), role, url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def listening_peer(scheme: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    url = transport_of(scheme).default_bind().url
    with peer_process("listen", url) as process:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
    if scheme == "zmq+ipc":
        os.unlink(transport_of(url).parse(url).path)  # the peer was killed


@asynccontextmanager
async def dialling_peer(scheme: str) -> AsyncIterator[tuple[subprocess.Popen[str], Connection]]:
    """A process that dialled, and this side's end."""
    async with accepting(scheme) as (listener, receive):
        with peer_process("dial", listener.address.url) as process:
            yield process, await receive.receive()


@asynccontextmanager
async def accepting(scheme: str) -> AsyncIterator[tuple[Listener, trio.MemoryReceiveChannel[Connection]]]:
    """A listener, and the connections it accepts; they are closed with it."""
    send, receive = trio.open_memory_channel[Connection](1000)

    async def handler(connection: Connection) -> None:
        send.send_nowait(connection)
        await trio.sleep_forever()

    transport = transport_of(scheme)
    listener = await transport.listen(transport.default_bind(), OPTIONS)
    try:
        async with collapse_eg(), trio.open_nursery() as nursery:
            await nursery.start(listener.serve, handler)
            yield listener, receive
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await listener.aclose()


async def round_trip(connection: Connection, frame: bytes = b"hello") -> None:
    await send_all(connection, [frame])
    assert [bytes(each) for each in await connection.receive()] == [frame]


async def expect_loss(connection: Connection, seconds: float) -> None:
    with trio.fail_after(seconds), pytest.raises(TransportClosed) as caught:
        await connection.receive()
    assert caught.value.src_exc is not None


async def quiet(pid: int) -> None:
    """Wait until what is under way to and from that process is where it can get to."""
    look = Quiet(pid).look
    with trio.fail_after(10):
        while not look():
            await trio.sleep(PAUSE)


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_killed_listener_is_noticed(scheme: str) -> None:
    with listening_peer(scheme) as (process, url):
        transport = transport_of(url)
        connection = await transport.connect(transport.parse(url), OPTIONS)
        await round_trip(connection)
        process.kill()
        await expect_loss(connection, 1)
        connection.abort()
        process.wait()  # its sockets are closed one after the other
        with pytest.raises(ConnectionRefusedError):
            await transport.connect(transport.parse(url), OPTIONS)


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_killed_dialler_is_noticed(scheme: str) -> None:
    async with dialling_peer(scheme) as (process, connection):
        await round_trip(connection)
        process.kill()
        await expect_loss(connection, 1)


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_what_a_killed_peer_had_sent_still_arrives(scheme: str) -> None:
    async with dialling_peer(scheme) as (process, connection):
        frames = [b"%d" % number for number in range(1000)]
        await round_trip(connection)
        await send_all(connection, frames)
        received = [bytes(frame) for frame in await connection.receive()]
        # All the echoes have left the peer before it is killed: they are with libzmq or the kernel here.
        await quiet(process.pid)
        process.kill()
        process.wait()
        await trio.sleep(0.1)
        while len(received) < len(frames):
            received += [bytes(frame) for frame in await connection.receive()]
        assert received == frames
        await expect_loss(connection, 1)


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_stopped_listener_is_noticed(scheme: str) -> None:
    with listening_peer(scheme) as (process, url):
        transport = transport_of(url)
        connection = await transport.connect(transport.parse(url), OPTIONS)
        await round_trip(connection)
        process.send_signal(signal.SIGSTOP)
        await expect_loss(connection, 5)
        connection.abort()


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_stopped_dialler_is_noticed(scheme: str) -> None:
    async with dialling_peer(scheme) as (process, connection):
        await round_trip(connection)
        process.send_signal(signal.SIGSTOP)
        await expect_loss(connection, 5)


async def test_a_peer_that_computes_is_kept() -> None:
    """Also when it has a window full of frames to read meanwhile."""
    async with dialling_peer("zmq+tcp") as (_, accepted):
        with listening_peer("zmq+ipc") as (_, url):
            transport = transport_of(url)
            dialled = await transport.connect(transport.parse(url), OPTIONS)
            async with trio.open_nursery() as nursery:
                for connection in (dialled, accepted):
                    nursery.start_soon(expect_kept, connection)
            dialled.abort()


async def expect_kept(connection: Connection) -> None:
    connection.max_frame = 256 * 1024
    await send_all(connection, [b"busy 6"])
    # Read only after that, so that the peer cannot take them at once with the first.
    await trio.sleep(0.5)
    sent = 0
    while not connection.pending:
        sent += connection.send_nowait([bytes(10_000)])
    received: list[int] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.flush)
        while len(received) < 1 + sent:
            batch = await connection.receive()
            assert batch
            received += map(len, batch)
    assert received == [6, *[10_000] * sent]
    await round_trip(connection)


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_process_that_computes_itself_keeps_its_peers(scheme: str) -> None:
    with listening_peer(scheme) as (_, url):
        transport = transport_of(url)
        connection = await transport.connect(transport.parse(url), OPTIONS)
        await round_trip(connection)
        subprocess.run(["sleep", "5"], check=True)  # without a checkpoint
        await round_trip(connection)
        await connection.aclose()


@pytest.mark.limit(60)
@pytest.mark.parametrize("scheme", SCHEMES)
async def test_many_peers_on_one_listener(scheme: str) -> None:
    """One that reads nothing slows nobody, and each gets its own frames back."""
    clients, rounds = 200, 20
    with listening_peer(scheme) as (_, url):
        transport = transport_of(url)
        address = transport.parse(url)
        slow = await transport.connect(address, OPTIONS)
        while not slow.pending:
            slow.send_nowait([bytes(60_000)])

        async def client(number: int) -> None:
            connection = await transport.connect(address, OPTIONS)
            for step in range(rounds):
                await round_trip(connection, b"%d from %d" % (step, number))
            await connection.aclose()

        async with trio.open_nursery() as nursery:
            for number in range(clients):
                nursery.start_soon(client, number)
        slow.abort()


def open_sockets() -> int:
    found = 0
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{descriptor}").startswith("socket:")
        except FileNotFoundError:
            pass
    return found


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_connections_leave_nothing_behind_while_others_live(scheme: str) -> None:
    """The context outlives them here, so nothing is cleaned up by its end."""
    async with accepting(scheme) as (listener, receive):
        transport = transport_of(scheme)
        keeper = await transport.connect(listener.address, OPTIONS)
        await receive.receive()
        before = len(os.listdir("/proc/self/fd"))
        for number in range(30):
            connection = await transport.connect(listener.address, OPTIONS)
            accepted = await receive.receive()
            first, second = (connection, accepted) if number % 2 else (accepted, connection)
            first.send_nowait([b"x"])
            assert await second.receive()
            if number % 3:
                first.abort()
            else:
                await first.aclose()
            assert list(await second.receive()) == []
            second.abort()
        with trio.fail_after(5):
            while len(os.listdir("/proc/self/fd")) > before:
                await trio.sleep(0.02)
        keeper.abort()


async def test_a_name_with_nobody_behind_it() -> None:
    with pytest.raises(OSError, match="resolve"):
        await tractor_zmq.transport.connect(tractor_zmq.transport.parse("zmq://nobody.invalid:1"), OPTIONS)


async def test_a_name_is_resolved() -> None:
    async with accepting("zmq+tcp") as (listener, receive):
        address = tractor_zmq.transport.parse(f"zmq://localhost:{listener.address.port}")
        connection = await tractor_zmq.transport.connect(address, OPTIONS)
        await round_trip_here(connection, await receive.receive())
        connection.abort()


async def round_trip_here(a: Connection, b: Connection) -> None:
    a.send_nowait([b"x"])
    assert [bytes(frame) for frame in await b.receive()] == [b"x"]


async def test_kernel_facts_over_a_socket_file() -> None:
    async with accepting("zmq+ipc") as (listener, receive):
        connection = await tractor_zmq.ipc_transport.connect(listener.address, OPTIONS)
        for end in (connection, await receive.receive()):
            assert (end.facts.pid, end.facts.uid) == (os.getpid(), os.geteuid())
            assert end.facts.same_host and end.facts.encrypted
        connection.abort()


async def test_a_stale_socket_file_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    transport = tractor_zmq.ipc_transport
    address = transport.parse(f"zmq+ipc://{tmp_path}/s")
    with peer_process("listen", address.url) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        with pytest.raises(OSError, match="already in use"):
            await transport.listen(address, OPTIONS)
    assert (tmp_path / "s").exists()
    listener = await transport.listen(address, OPTIONS)
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o600
    await listener.aclose()
    assert not (tmp_path / "s").exists()
