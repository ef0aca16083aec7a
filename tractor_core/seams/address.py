"""Addresses: a URL, split into the parts every transport needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec

AddressLike: TypeAlias = "str | Address | tuple[str, int] | tuple[str, str] | Sequence[Any]"


class Address(msgspec.Struct, frozen=True):
    """Where an actor can be reached: a scheme and what that scheme's transport makes of the rest.

    ``tcp://127.0.0.1:1616`` has a host and a port; ``uds:///run/me/a.sock`` has a path and no
    host; ``uds:@name`` is opaque, its whole body in ``path``. ``params`` holds the query
    (``?key=value``) in the order given.
    """

    scheme: str
    host: str = ""
    port: int | None = None
    path: str = ""
    params: tuple[tuple[str, str], ...] = ()

    @property
    def url(self) -> str:
        """The address as a URL; ``parse_address(a.url) == a``."""
        query = "&".join(f"{name}={value}" for name, value in self.params)
        tail = f"?{query}" if query else ""
        if self.path and not self.path.startswith("/"):
            return f"{self.scheme}:{self.path}{tail}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}{tail}"

    def param(self, name: str) -> str | None:
        """The value of one query parameter, or None."""
        return dict(self.params).get(name)

    @property
    def advertised(self) -> Address:
        """What others are told of a bound address: itself, or with host, port and path of ``?advertise=``."""
        told = self.param("advertise")
        if told is None:
            return self
        authority, slash, path = told.partition("/")
        host, port = _parse_authority(self.url, authority)
        params = tuple(pair for pair in self.params if pair[0] != "advertise")
        return Address(self.scheme, host, port, slash + path or self.path, params)

    def with_port(self, port: int) -> Address:
        """The same address with another port (a listener bound to port 0 reports the real one)."""
        return msgspec.structs.replace(self, port=port)

    def __str__(self) -> str:
        return self.url


def parse_address(value: AddressLike) -> Address:
    """Turn a URL, an :class:`Address` or one of the tuple forms into an :class:`Address`.

    ``("127.0.0.1", 1616)`` is ``tcp://127.0.0.1:1616``; ``("/run/me", "a.sock")`` is
    ``uds:///run/me/a.sock``. Raises ``ValueError`` saying which part is wrong.
    """
    if isinstance(value, Address):
        return value
    if isinstance(value, str):
        return _parse_url(value)
    given: object = value  # whatever the annotation says
    if isinstance(given, Sequence) and len(given) == 2:
        first, second = given[0], given[1]
        if isinstance(first, str) and isinstance(second, int) and not isinstance(second, bool):
            return Address("tcp", host=first, port=_check_port(second, f"{first}:{second}"))
        if isinstance(second, str) or hasattr(second, "__fspath__"):
            return Address("uds", path=f"{str(first).rstrip('/')}/{second}")
    raise ValueError(
        f"not an address: {value!r} (expected a URL such as 'tcp://127.0.0.1:1616', "
        "a (host, port) pair or a (directory, file) pair)"
    )


def _parse_url(url: str) -> Address:
    scheme, colon, rest = url.partition(":")
    if not colon or not scheme or not scheme[0].isalpha():
        raise ValueError(f"address {url!r} has no scheme (expected e.g. 'tcp://127.0.0.1:1616')")
    if not all(c.isalnum() or c in "+-." for c in scheme):
        raise ValueError(f"address {url!r}: bad character in scheme {scheme!r}")
    scheme = scheme.lower()
    rest, _, query = rest.partition("?")
    params = _parse_query(url, query)
    if not rest.startswith("//"):
        if not rest:
            raise ValueError(f"address {url!r} has nothing after its scheme")
        return Address(scheme, path=rest, params=params)
    authority, slash, path = rest[2:].partition("/")
    host, port = _parse_authority(url, authority)
    return Address(scheme, host, port, slash + path, params)


def _parse_query(url: str, query: str) -> tuple[tuple[str, str], ...]:
    pairs = []
    for part in query.split("&") if query else ():
        name, equals, value = part.partition("=")
        if not name or not equals:
            raise ValueError(f"address {url!r}: query part {part!r} is not 'name=value'")
        pairs.append((name, value))
    return tuple(pairs)


def _parse_authority(url: str, authority: str) -> tuple[str, int | None]:
    if authority.startswith("["):
        host, bracket, tail = authority[1:].partition("]")
        if not bracket or (tail and not tail.startswith(":")):
            raise ValueError(f"address {url!r}: malformed IPv6 host {authority!r}")
        port_text = tail[1:]
    else:
        host, _, port_text = authority.partition(":")
        if ":" in port_text:
            raise ValueError(f"address {url!r}: an IPv6 host needs brackets, as in [::1]")
    if not port_text:
        return host, None
    if not (port_text.isascii() and port_text.isdigit()):
        raise ValueError(f"address {url!r}: port {port_text!r} is not a number")
    return host, _check_port(int(port_text), url)


def _check_port(port: int, where: str) -> int:
    if not 0 <= port <= 65535:
        raise ValueError(f"address {where!r}: port {port} is not in 0..65535")
    return port
