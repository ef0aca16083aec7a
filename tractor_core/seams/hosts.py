"""Hosts in addresses: loopback, wildcards, and what others are told of a bound one.

For any transport whose addresses are a host and a port.
"""

from __future__ import annotations

import ipaddress
import re
import socket

import msgspec

from .address import Address, parse_address

#: Hosts that stand for every address of this host, and where this host itself finds what is bound there.
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}

#: How some write the first of them.
ANY_HOST = "*"

# What inet_aton(), and so the resolver, may read as 0.0.0.0.
_SHORT_ZERO = re.compile(r"[0xX.]+")

# Nobody answers here and nothing is sent: they only make the system choose the address it would send from.
_ELSEWHERE = {"0.0.0.0": (socket.AF_INET, "192.0.2.1"), "::": (socket.AF_INET6, "2001:db8::1")}


def canonical_host(host: str) -> str:
    """``0.0.0.0`` or ``::`` for whatever else spells it (``0``, ``*``, ``::0``); any other host as it is.

    For a transport's ``parse()``, so that what is bound to every address is known for it from there on.
    """
    if host == ANY_HOST or (_SHORT_ZERO.fullmatch(host) and _is_zero(host)):
        return "0.0.0.0"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    # With a zone it is no wildcard, and nothing that could be bound.
    if "%" in host or not (mapped or address).is_unspecified:
        return host
    return "0.0.0.0" if mapped or address.version == 4 else "::"


def _is_zero(host: str) -> bool:
    try:
        return socket.inet_aton(host) == bytes(4)
    except OSError:
        return False


def check_advertised(url: str, value: str) -> None:
    """``ValueError`` unless ``value``, from the parameter ``advertise`` of ``url``, is ``host:port``."""
    try:
        advertised = parse_address(f"tcp://{value}")
    except ValueError:
        advertised = Address("tcp")
    if not advertised.host or advertised.port is None or advertised.path:
        raise ValueError(f"address {url!r}: advertise={value!r} is not 'host:port'")


def as_bound(address: Address, port: int) -> Address:
    """The address of a listener that was given ``port``, saying what others are to be told.

    Port 0 in ``advertise`` is the one bound. A wildcard, which leads nobody anywhere, is told as the
    address by which this host speaks to others; see :func:`primary_address`.
    """
    told = address.param("advertise")
    own = canonical_host(address.host)
    if told is None and own not in WILDCARDS:
        return address.with_port(port)
    other = Address(address.scheme, primary_address(own)) if told is None else parse_address(f"tcp://{told}")
    host = f"[{other.host}]" if ":" in other.host else other.host
    kept = tuple(pair for pair in address.params if pair[0] != "advertise")
    told = f"{host}:{other.port or port}{other.path}"
    return msgspec.structs.replace(address, host=own, port=port, params=(*kept, ("advertise", told)))


def primary_address(wildcard: str) -> str:
    """The address that the system would send from to the rest of the world; loopback where it has no way."""
    family, elsewhere = _ELSEWHERE[wildcard]
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect((elsewhere, 9))
            found = str(sock.getsockname()[0]).partition("%")[0]
    except OSError:
        return WILDCARDS[wildcard]
    return WILDCARDS[wildcard] if found in WILDCARDS else found


def is_numeric(host: str) -> bool:
    """Whether the host is an IP address, so that no resolver need be asked."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether only this host can reach that one. A wildcard is not: everybody can."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
