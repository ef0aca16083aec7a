"""What a ``uds:`` address may say."""

from __future__ import annotations

import sys

from tractor_core.seams import Address, parse_address
from tractor_core.seams.socket_paths import check_socket_path

SCHEME = "uds"
REGISTRY_NAME = "registry.sock"


def parse(url: str) -> Address:
    """Check a ``uds:///path`` or ``uds:@name`` URL; ``ValueError`` names the part that is wrong."""
    address = parse_address(url)
    if address.scheme != SCHEME:
        raise ValueError(f"address {url!r}: scheme {address.scheme!r} is not uds")
    if address.host or address.port is not None:
        raise ValueError(f"address {url!r}: a uds address has no host (write three slashes: uds:///path)")
    if address.params:
        raise ValueError(f"address {url!r}: unknown parameter {address.params[0][0]!r} (uds knows none)")
    path = address.path
    if not path.startswith(("/", "@")) or len(path) < 2:
        raise ValueError(f"address {url!r}: the path is not absolute (uds:///path) nor abstract (uds:@name)")
    if is_abstract(address) and sys.platform != "linux":
        raise ValueError(f"address {url!r}: abstract socket names exist on Linux only")
    try:
        check_socket_path(path)
    except ValueError as exc:
        raise ValueError(f"address {url!r}: {exc}") from None
    return Address(SCHEME, path=path)


def is_abstract(address: Address) -> bool:
    """Whether the address names no file."""
    return address.path.startswith("@")


def socket_name(address: Address) -> str:
    """What ``bind`` and ``connect`` take."""
    return "\0" + address.path[1:] if is_abstract(address) else address.path
