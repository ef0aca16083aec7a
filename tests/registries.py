"""Where the trees of a test meet, and how their actors start: every transport and every backend.

The tests of real trees take their registry's address from a fixture that goes through some of these
:class:`Way`. The environment may choose one instead: ``TRACTOR_TRANSPORTS=ws TRACTOR_SPAWN_METHOD=forkserver
pytest tests/e2e`` runs all of them that way.
"""

from __future__ import annotations

import itertools
import os
import random
import socket
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeVar

import trustme

from tractor_core.seams.tls import CA_VARIABLE, CERT_VARIABLE, KEY_VARIABLE

#: What chooses, and what the runtime itself reads: kept when the rest of TRACTOR_* is cleared.
TRANSPORTS_VARIABLE, METHOD_VARIABLE = CHOICES = ("TRACTOR_TRANSPORTS", "TRACTOR_SPAWN_METHOD")


class Way(NamedTuple):
    """A transport's scheme and a spawn backend's name."""

    scheme: str
    start_method: str

    def __str__(self) -> str:
        return f"{self.scheme}-{self.start_method}"


#: For everything that does not take long: two ways that have nothing in common.
USUAL = (Way("tcp", "subprocess"), Way("uds", "forkserver"))

#: For what holds everywhere by promise: each transport once, each backend at least twice.
EVERY = (
    *USUAL,
    Way("zmq+tcp", "multiprocessing"),
    Way("zmq+ipc", "forkserver"),
    Way("ws", "subprocess"),
    Way("tls", "multiprocessing"),
    Way("wss", "forkserver"),
)

#: The fixtures that hand over an address, and the ways that each goes through.
WAYS = {"registry": USUAL, "every_registry": EVERY, "one_registry": USUAL[:1]}

#: Schemes whose addresses are files.
OF_FILES = ("uds", "zmq+ipc")
#: Schemes that need certificates.
ENCRYPTED = ("tls", "wss")

#: How many processes share the whole suite, or a way of ``every_way.py``: about half of it waits.
TOGETHER = int(os.environ.get("TESTS_TOGETHER", "2"))

#: Into how many shares the ports are divided: as many processes may run tests side by side.
SHARES = 16

Thing = TypeVar("Thing")

_serial = itertools.count()


def ways(fixture: str, environ: Mapping[str, str] = os.environ) -> tuple[Way, ...]:
    """The ways of a fixture: the environment's one where it chooses, else its own."""
    scheme = environ.get(TRANSPORTS_VARIABLE, "").partition(",")[0].strip()
    method = environ.get(METHOD_VARIABLE, "").strip()
    if scheme or method:
        return (Way(scheme or USUAL[0].scheme, method or USUAL[0].start_method),)
    return WAYS[fixture]


def share(things: Sequence[Thing], registry: str) -> Sequence[Thing]:
    """Those that go the way of ``registry``, in a test that takes ``every_registry`` and would take long.

    All go the usual ways, or the one that the environment chose, as ``every_way.py`` does for each; the other
    ways divide them, so that each goes one of those, too.
    """
    others = [way.scheme for way in EVERY if way not in USUAL]
    scheme = registry.partition("://")[0]
    if scheme not in others or os.environ.get(TRANSPORTS_VARIABLE):
        return things
    return things[others.index(scheme) :: len(others)]


def new_registry(scheme: str) -> str:
    """The URL of a registry that nobody else uses and nothing listens on yet."""
    if scheme in OF_FILES:
        return f"{scheme}://{os.environ['XDG_RUNTIME_DIR']}/registry-{next(_serial)}.sock"
    if scheme == "mem":
        return f"mem://registry-{next(_serial)}"
    return f"{scheme}://127.0.0.1:{free_port()}"


def free_port() -> int:
    """A port below the range from which the system picks, so that no connection takes it meanwhile.

    Nor does a test beside this one: each of pytest-xdist's processes, gw0, gw1 and so on, has a share.
    """
    share = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % SHARES
    while True:
        port = random.randrange(20_000 + share, 32_000, SHARES)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


@cache
def certificates(directory: Path) -> dict[str, str]:
    """The environment of ``tls`` and ``wss``: a certificate for this machine's loopback, made once."""
    authority = trustme.CA()
    leaf = authority.issue_cert("127.0.0.1", "::1", "localhost")
    files = {
        CERT_VARIABLE: (directory / "loopback.pem", leaf.cert_chain_pems[0]),
        KEY_VARIABLE: (directory / "loopback.key", leaf.private_key_pem),
        CA_VARIABLE: (directory / "authority.pem", authority.cert_pem),
    }
    for path, pem in files.values():
        pem.write_to_path(path)
        path.chmod(0o600)
    return {variable: str(path) for variable, (path, _) in files.items()}
