"""What a ``zmq+tcp:`` or ``zmq+ipc:`` address may say, and how near it is."""

from __future__ import annotations

from tractor_core.seams import Address, parse_address
from tractor_core.seams.hosts import canonical_host
from tractor_core.seams.socket_paths import check_socket_path

TCP = "zmq+tcp"
IPC = "zmq+ipc"
#: Another name of ``zmq+tcp``.
ALIAS = "zmq"

REGISTRY_PORT = 1620
REGISTRY_NAME = "registry.zmq.sock"


def parse_tcp(url: str) -> Address:
    """Check a ``zmq+tcp://host:port`` URL; ``ValueError`` names the part that is wrong."""
    address = parse_address(url)
    if address.scheme not in (TCP, ALIAS):
        raise ValueError(f"address {url!r}: scheme {address.scheme!r} is not {TCP} nor {ALIAS}")
    if address.path not in ("", "/"):
        raise ValueError(f"address {url!r}: a {TCP} address has no path (found {address.path!r})")
    if not address.host:
        raise ValueError(f"address {url!r} has no host (expected e.g. '{TCP}://127.0.0.1:{REGISTRY_PORT}')")
    if address.port is None:
        raise ValueError(f"address {url!r} has no port (expected e.g. '{TCP}://{address.host}:1620')")
    _check_params(url, address, ("advertise", "curve"))
    if (advertised := address.param("advertise")) is not None:
        _check_advertised(url, advertised)
    return Address(TCP, canonical_host(address.host), address.port, params=address.params)


def parse_ipc(url: str) -> Address:
    """Check a ``zmq+ipc:///absolute/path`` URL; ``ValueError`` names the part that is wrong."""
    address = parse_address(url)
    if address.scheme != IPC:
        raise ValueError(f"address {url!r}: scheme {address.scheme!r} is not {IPC}")
    if address.host or address.port is not None:
        raise ValueError(f"address {url!r}: a {IPC} address has no host (write three slashes: {IPC}:///path)")
    _check_params(url, address, ("curve",))
    if not address.path.startswith("/") or len(address.path) < 2:
        raise ValueError(f"address {url!r}: the path is not absolute ({IPC}:///path)")
    try:
        check_socket_path(address.path)
    except ValueError as exc:
        raise ValueError(f"address {url!r}: {exc}") from None
    return Address(IPC, path=address.path, params=address.params)


def _check_params(url: str, address: Address, known: tuple[str, ...]) -> None:
    names = [name for name, _ in address.params]
    for name, value in address.params:
        if name not in known:
            spelt = " and ".join(repr(entry) for entry in known)
            raise ValueError(f"address {url!r}: unknown parameter {name!r} ({address.scheme} knows {spelt})")
        if names.count(name) > 1:
            raise ValueError(f"address {url!r}: parameter {name!r} is given twice")
        if name == "curve" and not value.startswith("/"):
            raise ValueError(f"address {url!r}: curve={value!r} is not the absolute path of a directory")


def _check_advertised(url: str, value: str) -> None:
    try:
        advertised = parse_address(f"{TCP}://{value}")
    except ValueError:
        advertised = Address(TCP)
    if not advertised.host or advertised.port is None or advertised.path:
        raise ValueError(f"address {url!r}: advertise={value!r} is not 'host:port'")


def tcp_endpoint(host: str, port: int) -> str:
    """What libzmq binds and connects to; the host is numeric."""
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"


def ipc_endpoint(path: str) -> str:
    """The same for a socket file."""
    return f"ipc://{path}"
