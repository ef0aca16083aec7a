"""Peers that mean no good, with and without the key: refused, and nobody else disturbed."""

from __future__ import annotations

import errno
import os
import re
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio
import zmq

import tractor_zmq
from tractor_core.errors import TractorError, TransportClosed
from tractor_core.seams import Address, Connection, TransportOptions
from tractor_core.trionics import collapse_eg
from tractor_zmq.dialling import DealerLink, NotConnected
from tractor_zmq.keys import dialler_keys
from tractor_zmq.listening import ZmqListener
from tractor_zmq.options import CREDIT, DATA, END, HELLO, MAX_FRAME, PROTOCOL, WINDOW
from tractor_zmq.probing import SAID

KEY = b"k" * 32
OPTIONS = TransportOptions(key=KEY, connect_timeout=1.0)
#: For who is to get in, however busy the machine is.
PATIENT = TransportOptions(key=KEY, connect_timeout=10.0)
TOKEN = b"t" * 16
GREETING = HELLO + TOKEN + PROTOCOL


class Service:
    """A listener that echoes, and what it saw."""

    def __init__(self, listener: Any) -> None:
        self.listener = listener
        self.accepted: list[Connection] = []
        self.ends: list[BaseException | None] = []

    @property
    def endpoint(self) -> str:
        return f"tcp://127.0.0.1:{self.listener.address.port}"

    async def handler(self, connection: Connection) -> None:
        self.accepted.append(connection)
        try:
            while frames := await connection.receive():
                await send_all(connection, [bytes(frame) for frame in frames])
        except (TransportClosed, trio.ClosedResourceError) as error:
            self.ends.append(error)
        else:
            self.ends.append(None)

    async def expect_alive(self) -> None:
        connection = await tractor_zmq.transport.connect(self.listener.address, PATIENT)
        connection.send_nowait([b"hello"])
        assert [bytes(frame) for frame in await connection.receive()] == [b"hello"]
        await connection.aclose()


async def send_all(connection: Connection, frames: list[bytes]) -> None:
    while frames:
        frames = frames[connection.send_nowait(frames) :]
        if connection.pending:
            await connection.flush()


@asynccontextmanager
async def serving(options: TransportOptions = OPTIONS) -> AsyncIterator[Service]:
    listener = await tractor_zmq.transport.listen(tractor_zmq.transport.default_bind(), options)
    service = Service(listener)
    try:
        async with collapse_eg(), trio.open_nursery() as nursery:
            await nursery.start(listener.serve, service.handler)
            yield service
            await service.expect_alive()
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await listener.aclose()


@contextmanager
def raw_dealer(
    endpoint: str, *, key: bytes | None = KEY, identity: bytes = b""
) -> Iterator[zmq.Socket[bytes]]:
    """A DEALER that does as it likes; without CURVE if ``key`` is None."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        if identity:
            dealer.routing_id = identity
        if key is not None:
            keys = dialler_keys(key, None)
            dealer.curve_serverkey = keys.listener
            dealer.curve_publickey = keys.own.public
            dealer.curve_secretkey = keys.own.secret
        dealer.connect(endpoint)
        yield dealer


async def until(condition: Any) -> None:
    with trio.fail_after(10):
        while not condition():
            await trio.sleep(0.01)


def resident() -> int:
    """Memory of this process (bytes)."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


async def hung_up(sock: socket.socket) -> None:
    """Wait until the other side ends the connection."""
    sock.setblocking(False)
    while True:
        await trio.lowlevel.wait_readable(sock)
        try:
            if not sock.recv(65536):
                return
        except ConnectionResetError:
            return


@pytest.mark.parametrize(
    "bytes_sent",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        os.urandom(4096),
        b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x01CURVE" + b"\0" * 200,
        b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x00NULL"
        + b"\0" * 48
        + b"\x02\xff\xff\xff\xff\xff\xff\xff\xff",
    ],
    ids=["silence", "http", "noise", "curve-greeting", "length-bomb"],
)
async def test_bytes_that_are_no_zeromq(bytes_sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as service:
        with socket.create_connection(("127.0.0.1", service.listener.address.port)) as sock:
            sock.sendall(bytes_sent)
            await service.expect_alive()
            with trio.fail_after(10):
                await hung_up(sock)
        await until(lambda: caplog.records != [])
        assert len(service.accepted) == 1
    assert [record.getMessage().rpartition(": ")[2] for record in caplog.records] == [
        "it sent no HELLO through CURVE"
    ]


@pytest.mark.parametrize("said", [b"", SAID[:64]], ids=["nothing", "greeting"])
async def test_who_leaves_without_a_word_is_told_of(said: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as service:
        with socket.create_connection(("127.0.0.1", service.listener.address.port)) as sock:
            sock.sendall(said)
            await service.expect_alive()  # so libzmq has accepted that one
        await until(lambda: caplog.records != [])
    assert "it sent no HELLO through CURVE" in caplog.text


async def test_who_says_that_it_only_looks_whether_somebody_listens_is_no_news(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As a dialler does that found nobody: by then, somebody may have come."""
    async with serving() as service:
        with socket.create_connection(("127.0.0.1", service.listener.address.port)) as sock:
            sock.sendall(SAID)
            with trio.fail_after(10):
                await hung_up(sock)
        await service.expect_alive()
    assert caplog.records == []


async def test_a_listener_that_comes_while_it_is_dialled_warns_of_nobody(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first attempt finds nobody; the look at why finds the listener, and so does the second attempt."""
    attempts: list[str] = []

    def dial(endpoint: str, *arguments: Any) -> DealerLink:
        attempts.append(endpoint)
        if len(attempts) == 1:
            raise NotConnected(errno.ECONNREFUSED, "nobody yet")
        return DealerLink(endpoint, *arguments)

    monkeypatch.setattr("tractor_zmq.endpoints.DealerLink", dial)
    async with serving() as service:
        await service.expect_alive()
        assert len(service.accepted) == 1
    assert len(attempts) > 1
    assert caplog.records == []


async def test_who_leaves_right_after_its_first_message_is_heard(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end may be read before its message; it got through CURVE all the same."""
    real = ZmqListener._read_messages

    def later(listener: ZmqListener) -> int:
        departed = listener._visitors._departed
        return real(listener) if departed or service.accepted else 0

    async with serving() as service:
        monkeypatch.setattr(ZmqListener, "_read_messages", later)
        with raw_dealer(service.endpoint) as dealer:
            monitor = dealer.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
            dealer.linger = 10_000  # it is to be written, but no more than that
            dealer.send(GREETING)
            await until(lambda: monitor.poll(0))
            dealer.disable_monitor()
            monitor.close()
        await until(lambda: len(service.ends) == 1)
    assert caplog.records == []


async def test_many_silent_connections_are_dropped() -> None:
    options = TransportOptions(key=KEY, connect_timeout=1.0, max_connections=10)
    async with serving(options) as service, trio.open_nursery() as nursery:
        port = service.listener.address.port
        strangers = [socket.create_connection(("127.0.0.1", port)) for _ in range(100)]
        for stranger in strangers:
            nursery.start_soon(hung_up, stranger)
        await service.expect_alive()
        nursery.cancel_scope.deadline = trio.current_time() + 10
    assert not nursery.cancel_scope.cancelled_caught
    for stranger in strangers:
        stranger.close()


@pytest.mark.parametrize("key", [None, b"wrong" * 8], ids=["no-curve", "wrong-key"])
async def test_zeromq_peers_without_the_key_cost_nothing(key: bytes | None) -> None:
    async with serving() as service:
        before = resident()
        with raw_dealer(service.endpoint, key=key) as dealer:
            with suppress(zmq.Again):  # it gives up once it was refused
                for _ in range(500):
                    dealer.send(bytes(200_000), zmq.NOBLOCK)
            await trio.sleep(0.3)
            # Those messages are here as well, in the DEALER that cannot send them.
            assert resident() - before < 500 * 200_000 + 20_000_000
            await service.expect_alive()
        assert len(service.accepted) == 1


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"hello",
        HELLO + TOKEN + b"tractor-zmq/999",
        HELLO + TOKEN,
        DATA + TOKEN + b"frame",
        END + TOKEN,
    ],
)
async def test_holders_of_the_key_must_say_hello(first: bytes) -> None:
    async with serving() as service:
        with raw_dealer(service.endpoint) as dealer:
            monitor = dealer.get_monitor_socket(zmq.EVENT_DISCONNECTED)
            dealer.send(first)
            await until(lambda: monitor.poll(0))
            dealer.disable_monitor()
            monitor.close()
        assert service.accepted == []


async def test_a_peer_that_says_nothing_after_curve_is_dropped() -> None:
    async with serving() as service:
        with raw_dealer(service.endpoint) as dealer:
            monitor = dealer.get_monitor_socket(zmq.EVENT_DISCONNECTED)
            await until(lambda: monitor.poll(0))
            dealer.disable_monitor()
            monitor.close()
        assert service.accepted == []


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x09" + TOKEN,
        DATA + b"u" * 16 + b"frame of another connection",
        CREDIT + TOKEN,
        CREDIT + TOKEN + (10**9).to_bytes(8, "little"),
        END + TOKEN + b"?",
        GREETING,
    ],
)
async def test_messages_that_make_no_sense_end_their_own_connection(message: bytes) -> None:
    async with serving() as service:
        with raw_dealer(service.endpoint) as dealer:
            dealer.send(GREETING)
            dealer.send(message)
            await until(lambda: service.ends)
            assert isinstance(service.ends[0], TransportClosed)


async def test_messages_of_several_parts_end_their_own_connection() -> None:
    async with serving() as service:
        with raw_dealer(service.endpoint) as dealer, raw_dealer(service.endpoint) as other:
            other.send(GREETING)
            dealer.send_multipart([GREETING, b"more"])
            dealer.send(GREETING)
            await until(lambda: service.accepted)
            other.send_multipart([DATA + TOKEN + b"a", b"\0abcd", DATA + TOKEN + b"b"])
            await until(lambda: service.ends)
            assert isinstance(service.ends[0], TransportClosed)


async def test_a_message_over_the_limit_never_arrives() -> None:
    async with serving() as service:
        with raw_dealer(service.endpoint) as dealer:
            dealer.send(GREETING)
            await until(lambda: service.accepted)
            before = resident()
            dealer.send(DATA + TOKEN + bytes(64 * 1024 * 1024))
            await until(lambda: service.ends)
            assert isinstance(service.ends[0], TransportClosed)
            assert resident() - before < 3 * 64 * 1024 * 1024


async def test_a_peer_that_ignores_its_window_is_cut_off() -> None:
    async with serving() as service:
        with raw_dealer(service.endpoint) as dealer:
            dealer.sndhwm = 0
            dealer.send(GREETING)
            await until(lambda: service.accepted)
            service.accepted[0].max_frame = 10  # the handler gets nothing it could take
            for _ in range(3 * WINDOW // MAX_FRAME):
                dealer.send(DATA + TOKEN + bytes(MAX_FRAME))
            await until(lambda: service.ends)
            assert isinstance(service.ends[0], TransportClosed)


async def test_a_peer_that_reads_nothing_is_cut_off() -> None:
    async with serving() as service:
        with raw_dealer(service.endpoint) as dealer:
            dealer.send(GREETING)
            await until(lambda: service.accepted)
            connection = service.accepted[0]
            while not connection.pending:
                connection.send_nowait([bytes(1000)] * 10)
            before = resident()
            for _ in range(1000):
                assert connection.send_nowait([bytes(100_000)]) == 0
            assert resident() - before < 20_000_000


async def test_an_identity_chosen_by_the_peer_buys_nothing() -> None:
    """A second peer with the identity of the first neither ends it nor speaks in its name."""
    async with serving() as service:
        with raw_dealer(service.endpoint, identity=b"victim") as first:
            first.send(GREETING)
            await until(lambda: service.accepted)
            with raw_dealer(service.endpoint, identity=b"victim") as second:
                second.send(HELLO + b"x" * 16 + PROTOCOL)
                second.send(DATA + TOKEN + b"in your name")
                await trio.sleep(0.1)
                first.send(DATA + TOKEN + b"mine")
                await until(lambda: first.poll(0))
                assert first.recv() == DATA + TOKEN + b"mine"
                assert len(service.accepted) == 1


async def test_an_identity_taken_over_reaches_nobody_elses_connection() -> None:
    async with serving() as service:
        with raw_dealer(service.endpoint, identity=b"victim") as first:
            first.send(GREETING)
            await until(lambda: service.accepted)
        await until(lambda: service.ends)
        with raw_dealer(service.endpoint, identity=b"victim") as second:
            second.send(DATA + TOKEN + b"in your name")
            await trio.sleep(0.1)
        assert len(service.accepted) == 1
        assert isinstance(service.ends[0], TransportClosed)


async def test_dialling_what_speaks_no_zeromq() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        async with trio.open_nursery() as nursery:
            server.setblocking(False)

            async def speak() -> None:
                while True:
                    await trio.lowlevel.wait_readable(server)
                    peer, _ = server.accept()
                    with peer:
                        peer.send(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n" * 10)

            nursery.start_soon(speak)
            with pytest.raises((OSError, TractorError)):
                await tractor_zmq.transport.connect(
                    Address("zmq+tcp", "127.0.0.1", server.getsockname()[1]), OPTIONS
                )
            nursery.cancel_scope.cancel()


async def test_dialling_what_says_nothing_takes_the_time_given() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with pytest.raises(TimeoutError, match="no answer"):
            await tractor_zmq.transport.connect(
                Address("zmq+tcp", "127.0.0.1", server.getsockname()[1]),
                TransportOptions(connect_timeout=0.3),
            )
