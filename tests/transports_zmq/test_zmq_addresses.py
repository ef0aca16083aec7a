"""What an address may say, and where things are by default."""

from __future__ import annotations

import pytest

from tractor_core.seams import Address
from tractor_core.seams.socket_paths import runtime_directory
from tractor_zmq import ipc_transport, transport


@pytest.mark.parametrize(
    ("url", "parsed"),
    [
        ("zmq+tcp://127.0.0.1:1620", Address("zmq+tcp", "127.0.0.1", 1620)),
        ("zmq://127.0.0.1:1620", Address("zmq+tcp", "127.0.0.1", 1620)),
        ("zmq+tcp://[::1]:0/", Address("zmq+tcp", "::1", 0)),
        ("zmq://h:1?curve=/etc/keys", Address("zmq+tcp", "h", 1, params=(("curve", "/etc/keys"),))),
        ("zmq+tcp://0.0.0.0:1?advertise=h:2", Address("zmq+tcp", "0.0.0.0", 1, "", (("advertise", "h:2"),))),
    ],
)
def test_tcp_addresses(url: str, parsed: Address) -> None:
    assert transport.parse(url) == parsed
    assert transport.parse(parsed.url) == parsed


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("tcp://127.0.0.1:1", "scheme"),
        ("zmq+tcp://127.0.0.1", "no port"),
        ("zmq+tcp://:1", "no host"),
        ("zmq+tcp://h:1/path", "path"),
        ("zmq+tcp://h:1?speed=high", "'speed'"),
        ("zmq+tcp://h:1?curve=keys", "absolute"),
        ("zmq+tcp://h:1?curve=/a&curve=/b", "twice"),
        ("zmq+tcp://h:1?advertise=nowhere", "host:port"),
    ],
)
def test_what_is_wrong_with_a_tcp_address_is_named(url: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        transport.parse(url)


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("zmq+tcp://h:1", "scheme"),
        ("zmq+ipc://host/path", "no host"),
        ("zmq+ipc:@abstract", "absolute"),
        ("zmq+ipc:///", "absolute"),
        ("zmq+ipc:///a?advertise=h:1", "'advertise'"),
        ("zmq+ipc:///" + "x" * 107, "108 bytes"),
    ],
)
def test_what_is_wrong_with_an_ipc_address_is_named(url: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        ipc_transport.parse(url)


def test_where_things_are_by_default() -> None:
    assert transport.default_registry().url == "zmq+tcp://127.0.0.1:1620"
    assert ipc_transport.default_registry().path == str(runtime_directory() / "registry.zmq.sock")
    assert transport.default_bind().port == 0
    assert ipc_transport.default_bind() != ipc_transport.default_bind()
    for each in (transport, ipc_transport):
        for address in (each.default_bind(), each.default_registry()):
            assert each.parse(address.url) == address


def test_who_can_reach_it() -> None:
    assert transport.exposure(Address("zmq+tcp", "127.0.0.1", 1)) == "host"
    assert transport.exposure(Address("zmq+tcp", "0.0.0.0", 1)) == "network"
    assert transport.exposure(Address("zmq+tcp", "::ffff:127.0.0.1", 1)) == "host"
    assert ipc_transport.exposure(ipc_transport.default_bind()) == "user"
    near, far = Address("zmq+tcp", "::1", 1), Address("zmq+tcp", "10.1.2.3", 1)
    assert (transport.distance(near) or 0) < (transport.distance(far) or 0)
    assert ipc_transport.distance(ipc_transport.default_bind()) is None
