"""Two network namespaces with a cable between them, which can be pulled out or made to lose everything."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tools import lack, need

#: Addresses that are reserved for documentation: nobody has them.
NEAR, FAR = "198.51.100.1", "198.51.100.2"
#: Where frames go that shall not arrive: no card has this address.
NOBODY = "02:00:00:00:00:99"

_serial = itertools.count()


@dataclass
class Namespace:
    """One network of its own, at one end of the cable."""

    name: str
    address: str
    card: str
    #: The other end's.
    peer: str
    ip: str

    def command(self, *command: str) -> list[str]:
        """The same command, run in here."""
        return [self.ip, "netns", "exec", self.name, *command]

    def configure(self, *arguments: str) -> None:
        _run(self.ip, "-n", self.name, *arguments)


@dataclass
class Cable:
    near: Namespace
    far: Namespace

    def cut(self, how: str) -> None:
        """``pulled``: both ends know that there is no link. ``silent``: all is sent, nothing arrives."""
        for end in (self.near, self.far):
            if how == "pulled":
                end.configure("link", "set", end.card, "down")
            else:
                neighbour = ("neigh", "replace", end.peer, "lladdr", NOBODY, "dev", end.card)
                end.configure(*neighbour, "nud", "permanent")

    def mend(self) -> None:
        for end in (self.near, self.far):
            end.configure("link", "set", end.card, "up")
            end.configure("neigh", "flush", "dev", end.card, "nud", "permanent")


@contextmanager
def two_namespaces() -> Iterator[Cable]:
    """Both, connected; without the right to make any, the test is left out. Removed whatever happens."""
    ip = need("ip", package="iproute2")
    prefix = f"tc-{os.getpid()}-{next(_serial)}"
    near = Namespace(f"{prefix}-near", NEAR, "near0", FAR, ip)
    far = Namespace(f"{prefix}-far", FAR, "far0", NEAR, ip)
    made: list[Namespace] = []
    try:
        for namespace in (near, far):
            try:
                _run(ip, "netns", "add", namespace.name)
            except subprocess.CalledProcessError as error:
                lack(f"network namespaces cannot be made here: {error.stderr.strip()}")
            made.append(namespace)
            namespace.configure("link", "set", "lo", "up")
        near.configure("link", "add", near.card, "type", "veth", "peer", "name", far.card, "netns", far.name)
        for namespace in (near, far):
            namespace.configure("address", "add", f"{namespace.address}/24", "dev", namespace.card)
            namespace.configure("link", "set", namespace.card, "up")
        yield Cable(near, far)
    finally:
        # The cards go with their namespace.
        for namespace in made:
            subprocess.run([ip, "netns", "delete", namespace.name], check=True)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
