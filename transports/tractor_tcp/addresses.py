"""What a ``tcp://`` address may say, and how near it is."""

from __future__ import annotations

import ipaddress

from tractor_core.seams import Address, parse_address

SCHEME = "tcp"


def parse(url: str) -> Address:
    """Check a ``tcp://host:port`` URL; ``ValueError`` names the part that is wrong."""
    address = parse_address(url)
    if address.scheme != SCHEME:
        raise ValueError(f"address {url!r}: scheme {address.scheme!r} is not tcp")
    if address.path not in ("", "/"):
        raise ValueError(f"address {url!r}: a tcp address has no path (found {address.path!r})")
    if not address.host:
        raise ValueError(f"address {url!r} has no host (expected e.g. 'tcp://127.0.0.1:1616')")
    if address.port is None:
        raise ValueError(f"address {url!r} has no port (expected e.g. 'tcp://{address.host}:1616')")
    for name, value in address.params:
        if name != "advertise":
            raise ValueError(f"address {url!r}: unknown parameter {name!r} (tcp knows 'advertise')")
        _check_advertised(url, value)
    return Address(SCHEME, address.host, address.port, params=address.params)


def _check_advertised(url: str, value: str) -> None:
    try:
        advertised = parse_address(f"{SCHEME}://{value}")
    except ValueError:
        advertised = Address(SCHEME)
    if not advertised.host or advertised.port is None or advertised.path:
        raise ValueError(f"address {url!r}: advertise={value!r} is not 'host:port'")


def is_numeric(host: str) -> bool:
    """Whether the host is an IP address, so that no resolver need be asked."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether only this host can reach that one."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def from_socket_name(name: tuple[str, int] | tuple[str, int, int, int]) -> Address:
    """The address of what ``getsockname``, ``getpeername`` or ``accept`` reported."""
    return Address(SCHEME, name[0], name[1])
