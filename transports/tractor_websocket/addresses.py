"""What a ``ws://`` or ``wss://`` address may say."""

from __future__ import annotations

from collections.abc import Iterable

from tractor_core.seams import Address, parse_address
from tractor_core.seams.hosts import canonical_host

#: Ports where a URL names none, by scheme.
_USUAL_PORTS = {"ws": 80, "wss": 443}
_PARAMETERS = ("advertise", "codec", "origins")
CODECS = ("msgpack", "json")

#: Stands for every origin.
ANY_ORIGIN = "*"
#: What browsers send for pages without one: files, sandboxed frames.
_OPAQUE_ORIGIN = "null"


def parse(url: str, scheme: str) -> Address:
    """Check a URL of ``scheme``; ``ValueError`` names the part that is wrong."""
    address = parse_address(url)
    if address.scheme != scheme:
        raise ValueError(f"address {url!r}: scheme {address.scheme!r} is not {scheme}")
    if not address.host:
        raise ValueError(f"address {url!r} has no host (expected e.g. '{scheme}://127.0.0.1:1618')")
    if not (address.path.isascii() and address.path.isprintable()) or " " in address.path:
        raise ValueError(f"address {url!r}: path {address.path!r} has characters that must be %-escaped")
    for name, value in address.params:
        _check_parameter(url, scheme, name, value)
    port = _USUAL_PORTS[scheme] if address.port is None else address.port
    path = "" if address.path == "/" else address.path
    return Address(scheme, canonical_host(address.host), port, path, address.params)


def _check_parameter(url: str, scheme: str, name: str, value: str) -> None:
    if name not in _PARAMETERS:
        known = ", ".join(_PARAMETERS)
        raise ValueError(f"address {url!r}: unknown parameter {name!r} ({scheme} knows {known})")
    try:
        if name == "advertise":
            _check_advertised(scheme, value)
        elif name == "origins":
            check_origins(value.split(","))
        elif value not in CODECS:
            raise ValueError(f"{value!r} is not one of {', '.join(CODECS)}")
    except ValueError as error:
        raise ValueError(f"address {url!r}: {name}: {error}") from None


def _check_advertised(scheme: str, value: str) -> None:
    advertised = parse_address(f"{scheme}://{value}")
    if not advertised.host or advertised.port is None:
        raise ValueError(f"{value!r} is not 'host:port' or 'host:port/path'")


def check_origins(values: Iterable[str]) -> frozenset[str]:
    """Origins as browsers write them; ``ValueError`` for what can never be one."""
    origins = frozenset(value.strip().lower() for value in values)
    for origin in origins - {ANY_ORIGIN, _OPAQUE_ORIGIN}:
        scheme, separator, host = origin.partition("://")
        if not scheme or not separator or not host or "/" in host:
            raise ValueError(f"{origin!r} is no origin (expected e.g. 'https://app.example:8443')")
    return origins


def origin_allowed(origin: str, allowed: frozenset[str]) -> bool:
    """Whether a page of that origin may connect."""
    return ANY_ORIGIN in allowed or origin.lower() in allowed


def host_header(address: Address) -> str:
    """``host`` or ``host:port``, as HTTP wants it."""
    host = f"[{address.host}]" if ":" in address.host else address.host
    return host if address.port == _USUAL_PORTS[address.scheme] else f"{host}:{address.port}"
