"""What is particular to TCP."""

from __future__ import annotations

import errno
import os
import socket

import pytest
import trio
from tools import needs_ipv6

from tractor_core.seams import Address, Connection, TransportOptions
from tractor_core.testing.check_transport import receive_count
from tractor_tcp import transport


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("uds:///x", "not tcp"),
        ("tcp://:1616", "no host"),
        ("tcp://host", "no port"),
        ("tcp:host", "path"),
        ("tcp://host:1/x", "path"),
        ("tcp://host:1?color=red", "'color'"),
        ("tcp://host:1?advertise=nonsense", "advertise"),
        ("tcp://host:1?advertise=h:99999", "advertise"),
    ],
)
def test_parse_errors(url: str, part: str) -> None:
    with pytest.raises(ValueError) as caught:
        transport.parse(url)
    assert part in str(caught.value)


@pytest.mark.parametrize(
    ("url", "exposure", "distance"),
    [
        ("tcp://127.0.0.1:0", "host", 10),
        ("tcp://127.9.9.9:0", "host", 10),
        ("tcp://[::1]:0", "host", 10),
        ("tcp://[::ffff:127.0.0.1]:0", "host", 10),
        ("tcp://localhost:0", "host", 10),
        ("tcp://0.0.0.0:0", "network", 10),
        ("tcp://[::]:0", "network", 10),
        ("tcp://192.0.2.1:0", "network", 20),
        ("tcp://example.org:0", "network", 20),
    ],
)
def test_exposure_and_distance(url: str, exposure: str, distance: int) -> None:
    address = transport.parse(url)
    assert transport.exposure(address) == exposure
    assert transport.distance(address) == distance


def test_defaults() -> None:
    assert transport.default_bind().url == "tcp://127.0.0.1:0"
    assert transport.default_registry().url == "tcp://127.0.0.1:1616"


async def _talk(bind: str, dial_host: str | None = None) -> Connection:
    async def handler(connection: Connection) -> None:
        connection.send_nowait(await connection.receive())
        await connection.receive()

    listener = await transport.listen(transport.parse(bind), TransportOptions())
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve, handler)
        port = listener.address.port
        target = Address("tcp", dial_host, port) if dial_host else listener.address
        connection = await transport.connect(target, TransportOptions())
        connection.send_nowait([b"hi"])
        assert [bytes(frame) for frame in await receive_count(connection, 1)] == [b"hi"]
        await connection.aclose()
        nursery.cancel_scope.cancel()
    await listener.aclose()
    return connection


@pytest.mark.parametrize(
    ("bind", "dial"),
    [
        ("tcp://localhost:0", None),
        ("tcp://localhost:0", "localhost"),
        ("tcp://0.0.0.0:0", "127.0.0.1"),
        ("tcp://0.0.0.0:0", None),
        pytest.param("tcp://[::1]:0", None, marks=needs_ipv6),
        ("tcp://127.0.0.1:0?advertise=example.org:99", "127.0.0.1"),
    ],
)
async def test_names_wildcards_and_ipv6(bind: str, dial: str | None) -> None:
    connection = await _talk(bind, dial)
    assert connection.local.host
    assert connection.remote.port
    assert connection.facts.pid is None
    assert not connection.facts.same_host


async def test_the_advertised_address_is_kept_beside_the_real_port() -> None:
    listener = await transport.listen(
        transport.parse("tcp://127.0.0.1:0?advertise=example.org:99"), TransportOptions()
    )
    assert listener.address.port
    assert listener.address.param("advertise") == "example.org:99"
    await listener.aclose()


async def test_in_use_names_the_address_and_its_holder() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(OSError, match=rf"tcp://127\.0\.0\.1:{port} is already in use") as caught:
            await transport.listen(Address("tcp", "127.0.0.1", port), TransportOptions())
    assert caught.value.errno == errno.EADDRINUSE
    if os.path.exists("/proc/net/tcp"):
        assert f"process {os.getpid()} " in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("::1", marks=needs_ipv6), "localhost"])
async def test_nobody_listens(host: str, free_tcp_registry: str) -> None:
    port = transport.parse(free_tcp_registry).port
    with pytest.raises(ConnectionRefusedError, match="tcp://"):
        await transport.connect(Address("tcp", host, port), TransportOptions())


async def test_an_unknown_name_is_an_os_error() -> None:
    with pytest.raises(OSError, match=r"nowhere\.invalid"):
        await transport.connect(Address("tcp", "nowhere.invalid", 1), TransportOptions(connect_timeout=3))
    with pytest.raises(OSError, match=r"nowhere\.invalid"):
        await transport.listen(Address("tcp", "nowhere.invalid", 1), TransportOptions())


async def test_an_address_that_is_not_ours_cannot_be_bound() -> None:
    with pytest.raises(OSError, match=r"192\.0\.2\.1"):
        await transport.listen(Address("tcp", "192.0.2.1", 0), TransportOptions())


async def test_connecting_is_bounded() -> None:
    # A full accept queue answers no more SYNs: the dialler would wait for minutes.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        address = Address("tcp", *server.getsockname())
        waiting = []
        with pytest.raises(TimeoutError, match=r"0\.2 s"):
            for _ in range(10):
                waiting.append(await transport.connect(address, TransportOptions(connect_timeout=0.2)))
        for connection in waiting:
            connection.abort()
