"""What a ``tcp://`` or ``tls://`` address may say."""

from __future__ import annotations

from tractor_core.seams import Address, parse_address
from tractor_core.seams.hosts import canonical_host, check_advertised

TCP = "tcp"
TLS = "tls"


def parse(url: str, scheme: str = TCP) -> Address:
    """Check a ``tcp://host:port`` URL (or one of ``scheme``); ``ValueError`` names the part that is wrong."""
    address = parse_address(url)
    if address.scheme != scheme:
        raise ValueError(f"address {url!r}: scheme {address.scheme!r} is not {scheme}")
    if address.path not in ("", "/"):
        raise ValueError(f"address {url!r}: a {scheme} address has no path (found {address.path!r})")
    if not address.host:
        raise ValueError(f"address {url!r} has no host (expected e.g. '{scheme}://127.0.0.1:1616')")
    if address.port is None:
        raise ValueError(f"address {url!r} has no port (expected e.g. '{scheme}://{address.host}:1616')")
    for name, value in address.params:
        if name != "advertise":
            raise ValueError(f"address {url!r}: unknown parameter {name!r} ({scheme} knows 'advertise')")
        check_advertised(url, value)
    return Address(scheme, canonical_host(address.host), address.port, params=address.params)


def from_socket_name(name: tuple[str, int] | tuple[str, int, int, int], scheme: str = TCP) -> Address:
    """The address of what ``getsockname``, ``getpeername`` or ``accept`` reported."""
    return Address(scheme, name[0], name[1])
