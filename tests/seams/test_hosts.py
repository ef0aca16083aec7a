"""Hosts: what is loopback, and what others are told of a bound address."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

import pytest
from tools import needs_ipv6

from tractor_core.plugin import PluginManager
from tractor_core.seams import Address, TransportOptions, hosts, parse_address


@pytest.mark.parametrize(
    ("url", "port", "bound", "told"),
    [
        ("tcp://127.0.0.1:0", 5, "tcp://127.0.0.1:5", "tcp://127.0.0.1:5"),
        ("tcp://h:0?advertise=a.example:9", 5, "tcp://h:5?advertise=a.example:9", "tcp://a.example:9"),
        ("tcp://h:0?advertise=a.example:0", 5, "tcp://h:5?advertise=a.example:5", "tcp://a.example:5"),
        ("tcp://0.0.0.0:0?advertise=[::1]:0", 5, "tcp://0.0.0.0:5?advertise=[::1]:5", "tcp://[::1]:5"),
        ("tcp://0.0.0.0:0", 5, "tcp://0.0.0.0:5?advertise=192.0.2.7:5", "tcp://192.0.2.7:5"),
        ("tcp://[::]:0", 5, "tcp://[::]:5?advertise=[2001:db8::7]:5", "tcp://[2001:db8::7]:5"),
        ("tcp://*:0", 5, "tcp://0.0.0.0:5?advertise=192.0.2.7:5", "tcp://192.0.2.7:5"),
        ("tcp://[::0]:0?advertise=h:0", 5, "tcp://[::]:5?advertise=h:5", "tcp://h:5"),
        ("ws://0.0.0.0:0/a?x=1", 5, "ws://0.0.0.0:5/a?x=1&advertise=192.0.2.7:5", "ws://192.0.2.7:5/a?x=1"),
    ],
)
def test_what_others_are_told(
    monkeypatch: pytest.MonkeyPatch, url: str, port: int, bound: str, told: str
) -> None:
    own = {"0.0.0.0": "192.0.2.7", "::": "2001:db8::7"}
    monkeypatch.setattr(hosts, "primary_address", own.__getitem__)
    address = hosts.as_bound(parse_address(url), port)
    assert address.url == bound
    assert parse_address(address.url) == address
    assert address.advertised.url == told
    assert address.advertised.advertised == address.advertised


#: Spellings of both wildcards, and what looks like one.
SPELLINGS = {
    "0.0.0.0": ["0.0.0.0", "0", "0.0", "00.0.0.0", "0x0", "0X0.0", "*", "::ffff:0.0.0.0", "::ffff:0:0"],
    "::": ["::", "::0", "0::", "0:0:0:0:0:0:0:0", "::0.0.0.0", "0000::0000"],
}
OTHERS = ["0.0.0.1", "1.0", "0.0.0.0.0", "0x", "x", ".", "", "::1", "::%lo", "::ffff:127.0.0.1", "**", "0 0"]


@pytest.mark.parametrize(
    ("host", "canonical"),
    [(host, wildcard) for wildcard, hosts in SPELLINGS.items() for host in hosts]
    + [(host, host) for host in OTHERS],
)
def test_every_spelling_of_a_wildcard_is_one(host: str, canonical: str) -> None:
    assert hosts.canonical_host(host) == canonical


@pytest.mark.parametrize("host", ["*", "0", "0x0", "[::0]", "[0:0:0:0:0:0:0:0]"])
@pytest.mark.parametrize("scheme", ["tcp", "tls", "ws", "wss", "zmq+tcp"])
def test_every_transport_knows_a_wildcard(scheme: str, host: str) -> None:
    transport = PluginManager.from_environment().transport(scheme)
    address = transport.parse(f"{scheme}://{host}:7")
    wildcard = "[::]" if host.startswith("[") else "0.0.0.0"
    assert address == transport.parse(f"{scheme}://{wildcard}:7")
    assert transport.exposure(address) == "network"
    # Dialled from here it is this very host.
    assert transport.distance(address) == transport.distance(transport.parse(f"{scheme}://127.0.0.1:7"))


@pytest.mark.parametrize("host", ["*", "0", pytest.param("[::0]", marks=needs_ipv6)])
@pytest.mark.parametrize("scheme", ["tcp", "ws", "zmq+tcp"])
async def test_others_are_told_a_host_that_leads_there(
    monkeypatch: pytest.MonkeyPatch, scheme: str, host: str
) -> None:
    monkeypatch.setattr(hosts, "primary_address", {"0.0.0.0": "192.0.2.7", "::": "2001:db8::7"}.__getitem__)
    transport = PluginManager.from_environment().transport(scheme)
    listener = await transport.listen(transport.parse(f"{scheme}://{host}:0"), TransportOptions())
    try:
        assert listener.address.advertised.host == ("2001:db8::7" if host == "[::0]" else "192.0.2.7")
        assert listener.address.advertised.port == listener.address.port != 0
    finally:
        await listener.aclose()


@pytest.mark.parametrize("wildcard", ["0.0.0.0", pytest.param("::", marks=needs_ipv6)])
def test_the_primary_address_is_one_of_this_hosts(wildcard: str) -> None:
    found = hosts.primary_address(wildcard)
    assert not ipaddress.ip_address(found).is_unspecified
    family = socket.AF_INET6 if ":" in found else socket.AF_INET
    with socket.socket(family) as sock:
        sock.bind((found, 0))


@pytest.mark.parametrize("wildcard", ["0.0.0.0", "::"])
def test_a_host_without_a_way_out_is_reached_by_loopback(
    monkeypatch: pytest.MonkeyPatch, wildcard: str
) -> None:
    class NoRoute(socket.socket):
        def connect(self, address: Any) -> None:
            raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(hosts.socket, "socket", NoRoute)
    assert hosts.primary_address(wildcard) == hosts.WILDCARDS[wildcard]


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.3.2.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("localhost", True),
        ("LOCALHOST.", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.0.2.1", False),
        ("localhost.example", False),
    ],
)
def test_loopback(host: str, loopback: bool) -> None:
    assert hosts.is_loopback(host) is loopback


@pytest.mark.parametrize("value", ["", "h", ":1", "h:", "h:x", "h:1/p", "h:99999", "::1:5"])
def test_an_advertised_address_is_host_and_port(value: str) -> None:
    with pytest.raises(ValueError, match="advertise="):
        hosts.check_advertised("tcp://x:1", value)
    hosts.check_advertised("tcp://x:1", "h:0")
    hosts.check_advertised("tcp://x:1", "[::1]:5")


def test_an_address_without_it_advertises_itself() -> None:
    for address in (Address("uds", path="/a"), Address("mem", "x")):
        assert address.advertised is address
