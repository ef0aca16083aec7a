"""What ``spawn_options`` may say, and the command lines that come of it."""

from __future__ import annotations

import ipaddress
import random
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tractor_core.seams import Address, parse_address

#: Remote ends of a tunnel to choose from; below the ports that systems give to outgoing connections.
_PORTS = range(20_000, 32_000)

#: How many remote ports a tunnel gets, in case one is taken over there.
_CANDIDATES = 3

_DEFAULTS = (
    "-T",
    "-oBatchMode=yes",
    "-oControlPath=none",
    "-oExitOnForwardFailure=no",
    "-oServerAliveInterval=5",
    "-oServerAliveCountMax=2",
)


class SSHOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``spawn_options`` of the method ``ssh``.

    ``host`` is what ``ssh`` takes: a name of its configuration, ``user@host``. ``python`` is the interpreter
    over there, ``path`` are directories put in front of its ``sys.path``. ``ssh`` is the client,
    ``ssh_options`` its further arguments, which win over the defaults of this backend. ``tunnel`` decides
    whether the actor reaches its parent through the connection; None means: if the parent listens on loopback
    only.
    """

    host: str
    python: str = "python3"
    path: list[str] = []
    ssh: str = "ssh"
    ssh_options: list[str] = []
    tunnel: bool | None = None

    @classmethod
    def from_mapping(cls, given: Mapping[str, Any]) -> SSHOptions:
        """``ValueError`` names what is unknown, missing or of the wrong type."""
        unknown = sorted(set(given) - set(cls.__struct_fields__))
        if unknown:
            known = ", ".join(cls.__struct_fields__)
            raise ValueError(f"start method 'ssh' has no option {', '.join(unknown)}; there is {known}")
        try:
            options = msgspec.convert(dict(given), cls)
        except msgspec.ValidationError as exc:
            raise ValueError(f"spawn_options of start method 'ssh': {exc}") from None
        if not options.host or options.host.startswith("-"):
            raise ValueError(f"spawn_options of start method 'ssh': {options.host!r} is no host")
        return options

    def command(self, forwards: Sequence[str], source_length: int) -> list[str]:
        """The client's command line. There are no secrets in it: everybody can read it."""
        # The interpreter reads remote.py, and not a byte more: what follows is for that to read.
        load = (
            'import os;s=b"";'
            f'exec("while len(s)<{source_length}:s+=os.read(0,{source_length}-len(s))or os._exit(1)");exec(s)'
        )
        remote = shlex.join([*shlex.split(self.python), "-c", load])
        tunnels = [part for forward in forwards for part in ("-R", forward)]
        return [self.ssh, *self.ssh_options, *_DEFAULTS, *tunnels, "--", self.host, f"exec {remote}"]


class Way(msgspec.Struct, frozen=True):
    """How the actor reaches its parent: where it dials, and what ``ssh -R`` must forward for that."""

    parent_addrs: list[str]
    forwards: list[str]


def way_to_parent(urls: Sequence[str], tunnel: bool | None) -> Way:
    """Directly where the parent can be reached from other hosts, else through the connection.

    ``ValueError`` where neither will do.
    """
    addresses = [parse_address(url) for url in urls]
    by_port = [address for address in addresses if address.host and address.port]
    direct = [address.url for address in by_port if not _is_loopback(address.host)]
    if direct and not tunnel:
        return Way(direct, [])
    if tunnel is False:
        raise ValueError(f"nobody on another host can dial {', '.join(urls)}, and the tunnel was declined")
    if not by_port:
        raise ValueError(
            f"the parent listens at {', '.join(urls)} only: a tunnel leads to a host and port, as of tcp://"
        )
    return _tunnelled(by_port[0])


def _tunnelled(address: Address) -> Way:
    ports = random.sample([port for port in _PORTS if port != address.port], _CANDIDATES)
    host = f"[{address.host}]" if ":" in address.host else address.host
    urls = [msgspec.structs.replace(address, host="127.0.0.1", port=port).url for port in ports]
    return Way(urls, [f"127.0.0.1:{port}:{host}:{address.port}" for port in ports])


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
