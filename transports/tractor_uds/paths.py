"""Where socket files live, and what a ``uds:`` address may say."""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
import sys
import tempfile
from pathlib import Path

from tractor_core.seams import Address, parse_address

SCHEME = "uds"
#: Longest path a socket can be bound to (bytes); the kernel's array less its final NUL.
MAX_PATH = 107 if sys.platform == "linux" else 103
REGISTRY_NAME = "registry.sock"
_TOKEN_BYTES = 6
#: The longest name this module gives a file in the runtime directory, slash included.
_LONGEST_NAME = len("/4194304-.sock") + 2 * _TOKEN_BYTES


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
    if "\0" in path:
        raise ValueError(f"address {url!r}: the path holds a NUL")
    length = len(os.fsencode(path))
    if length > MAX_PATH:
        raise ValueError(f"address {url!r}: the path has {length} bytes, sockets allow {MAX_PATH}")
    return Address(SCHEME, path=path)


def is_abstract(address: Address) -> bool:
    """Whether the address names no file."""
    return address.path.startswith("@")


def socket_name(address: Address) -> str:
    """What ``bind`` and ``connect`` take."""
    return "\0" + address.path[1:] if is_abstract(address) else address.path


def runtime_directory() -> Path:
    """This user's directory for socket files; not created here.

    A base directory so long that no socket fits in is replaced by one under ``/tmp`` named by its
    hash, the same for every program that sees the same base.
    """
    name = f"tractor-core-{os.geteuid()}"
    directory = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / name
    raw = os.fsencode(directory)
    if not directory.is_absolute() or len(raw) + _LONGEST_NAME > MAX_PATH:
        return Path("/tmp") / f"{name}-{hashlib.sha256(raw).hexdigest()[:12]}"
    return directory


def fresh_path() -> Path:
    """A path in the runtime directory that nobody has; it names this process to who lists them."""
    return runtime_directory() / f"{os.getpid()}-{secrets.token_hex(_TOKEN_BYTES)}.sock"


def prepare_directory(directory: Path) -> None:
    """Make the directory of a socket 0700 if it is missing.

    An existing one is never changed. The runtime directory must be this user's own and writable by
    nobody else, or ``PermissionError``; a directory the user named is the user's decision.
    """
    try:
        directory.mkdir(mode=0o700)
    except FileExistsError:
        pass
    if directory != runtime_directory():
        return
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise PermissionError(f"{directory} is not a directory of user {os.geteuid()}: not used for sockets")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(f"{directory} is writable by others: not used for sockets (expected mode 0700)")
