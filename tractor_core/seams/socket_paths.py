"""Where socket files live: one private directory per user, and names that fit into a socket address."""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
import sys
import tempfile
from pathlib import Path

#: Longest path a socket can be bound to (bytes); the kernel's array less its final NUL.
MAX_PATH = 107 if sys.platform == "linux" else 103
_TOKEN_BYTES = 6
#: The longest name this module gives a file in the runtime directory, slash included.
_LONGEST_NAME = len("/4194304-.sock") + 2 * _TOKEN_BYTES


def check_socket_path(path: str) -> None:
    """``ValueError``, saying why, for a path that no socket can be bound to."""
    if "\0" in path:
        raise ValueError("the path holds a NUL")
    length = len(os.fsencode(path))
    if length > MAX_PATH:
        raise ValueError(f"the path has {length} bytes, sockets allow {MAX_PATH}")


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
