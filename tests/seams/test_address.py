"""Addresses: what is written is what is read, and errors name the part that is wrong."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tractor_core.seams import Address, parse_address

WORD = string.ascii_letters + string.digits
schemes = st.from_regex(r"[a-z][a-z0-9+.-]{0,8}", fullmatch=True)
names = st.text(WORD + "-._", min_size=1, max_size=20)
ipv6 = st.ip_addresses(v=6).map(str)
hosts = st.just("") | names | st.ip_addresses(v=4).map(str) | ipv6
paths = st.just("") | st.text(WORD + "/-._@ ü:", max_size=30).map(lambda tail: f"/{tail}")
params = st.lists(st.tuples(names, st.text(WORD + ":.[]/=", min_size=0, max_size=10)), max_size=3).map(tuple)
with_authority = st.builds(Address, schemes, hosts, st.none() | st.integers(0, 65535), paths, params)
opaque = st.builds(
    Address, schemes, path=st.text(WORD + "@-_./:", min_size=1).filter(lambda p: p[0] != "/"), params=params
)


@given(with_authority | opaque)
def test_round_trip(address: Address) -> None:
    assert parse_address(address.url) == address
    assert str(address) == address.url


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    try:
        address = parse_address(text)
    except ValueError:
        return
    assert parse_address(address.url) == address


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("tcp://127.0.0.1:1616", Address("tcp", "127.0.0.1", 1616)),
        ("TCP://Host:0", Address("tcp", "Host", 0)),
        ("tcp://[::1]:80", Address("tcp", "::1", 80)),
        ("tcp://[::1]", Address("tcp", "::1")),
        ("zmq+ipc:///run/me", Address("zmq+ipc", path="/run/me")),
        ("ws://h:1/a/b?x=1&y=", Address("ws", "h", 1, "/a/b", (("x", "1"), ("y", "")))),
        ("uds:@name", Address("uds", path="@name")),
        ("mem://", Address("mem")),
        (("127.0.0.1", 1616), Address("tcp", "127.0.0.1", 1616)),
        (["::1", 7], Address("tcp", "::1", 7)),
        (("/run/me", "a.sock"), Address("uds", path="/run/me/a.sock")),
        (("/run/me/", Path("a.sock")), Address("uds", path="/run/me/a.sock")),
        (Address("tcp", "h", 1), Address("tcp", "h", 1)),
    ],
)
def test_forms(value: Any, expected: Address) -> None:
    assert parse_address(value) == expected


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("", "no scheme"),
        ("127.0.0.1", "no scheme"),
        ("//host:1", "no scheme"),
        ("1tcp://h:1", "no scheme"),
        ("tc p://h:1", "scheme"),
        ("tcp:", "nothing after"),
        ("tcp://h:http", "'http'"),
        ("tcp://h:65536", "65536"),
        ("tcp://h:٣", "not a number"),
        ("tcp://::1:80", "brackets"),
        ("tcp://[::1:80", "IPv6"),
        ("tcp://[::1]80", "IPv6"),
        ("tcp://h:1?x", "'x'"),
        ("tcp://h:1?=x", "'=x'"),
        (("h", 70000), "70000"),
        (("h", True), "not an address"),
        (("h", 1, 2), "not an address"),
        (17, "not an address"),
        (None, "not an address"),
        ((1, 2), "not an address"),
    ],
)
def test_errors_name_the_part(value: Any, part: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_address(value)
    assert part in str(caught.value)


def test_helpers() -> None:
    address = parse_address("tcp://h:0?advertise=a:1")
    assert address.with_port(5).url == "tcp://h:5?advertise=a:1"
    assert address.param("advertise") == "a:1"
    assert address.param("other") is None
    assert len({address, parse_address(address.url)}) == 1
