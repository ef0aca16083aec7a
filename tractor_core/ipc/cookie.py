"""The tree's key: given, read from a file, or a per-user cookie made on first use.

Programs of one user find the same cookie in the user's configuration directory and can therefore
meet without any configuration; other users cannot read it. It is not kept in the runtime directory,
which is wiped at logout.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import pwd
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path

#: A key given in the environment: the path of a private file that holds it.
KEY_FILE_VARIABLE = "TRACTOR_AUTH_KEY_FILE"

#: Fewer bytes than this are refused as ``auth_key``: an eavesdropper can try guesses offline.
MIN_KEY_SIZE = 16

# A key file is a line, not a disk image given by mistake.
_MAX_FILE_SIZE = 64 * 1024
_COOKIE_BYTES = 32
_LABEL = b"tractor-core tree key\0"

# What file systems without hard links answer (exFAT, some FUSE and network mounts).
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


class KeyFileError(PermissionError):
    """A file with a key cannot be used: others could read or replace it, or it cannot be made."""


def load_key(auth_key: bytes | str | None, environ: Mapping[str, str]) -> tuple[bytes, bool]:
    """The 32-byte key of the tree, and whether it was given explicitly.

    In this order: ``auth_key`` (text is taken as UTF-8), the file that ``TRACTOR_AUTH_KEY_FILE``
    names, the user's cookie. ``ValueError`` where a key has fewer than 16 bytes, ``TypeError``
    where it is no text or bytes, :class:`KeyFileError` where a file is not private,
    ``FileNotFoundError`` where the file named is missing.
    """
    if auth_key is not None:
        if not isinstance(auth_key, (bytes, str)):
            raise TypeError(f"auth_key must be bytes or str, not {type(auth_key).__name__}")
        return derive_key(auth_key.encode() if isinstance(auth_key, str) else auth_key, "auth_key"), True
    if named := environ.get(KEY_FILE_VARIABLE):
        path = Path(named)
        return derive_key(read_private(path).strip(), f"{KEY_FILE_VARIABLE}={path}"), True
    return derive_key(_cookie(cookie_path(environ)), "the cookie"), False


def derive_key(material: bytes, origin: str) -> bytes:
    """Turn what was given into 32 bytes; ``ValueError`` naming ``origin`` if it is too short."""
    if len(material) < MIN_KEY_SIZE:
        raise ValueError(
            f"{origin} has {len(material)} bytes, at least {MIN_KEY_SIZE} are needed "
            "(for instance from secrets.token_hex(32))"
        )
    return hashlib.sha256(_LABEL + material).digest()


def cookie_path(environ: Mapping[str, str]) -> Path:
    """Where this user's cookie is, or will be."""
    base = environ.get("XDG_CONFIG_HOME", "")
    # The XDG specification: a relative path there is to be ignored.
    if not base.startswith("/"):
        base = os.path.join(environ.get("HOME") or pwd.getpwuid(os.geteuid()).pw_dir, ".config")
    return Path(base, "tractor-core", "cookie")


def read_private(path: Path) -> bytes:
    """The contents of a file that nobody but this user can read or write, else :class:`KeyFileError`."""
    # O_NONBLOCK: opening a FIFO put there must not hang.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        # Of the open descriptor, so that nothing can be swapped between the check and the reading.
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise KeyFileError(f"{path} is not a regular file")
        if status.st_uid != os.geteuid():
            raise KeyFileError(f"{path} belongs to user {status.st_uid}, not to this one ({os.geteuid()})")
        mode = stat.S_IMODE(status.st_mode)
        if mode & 0o077:
            raise KeyFileError(f"{path} has mode {mode:04o}, so others can use it; run: chmod 600 {path}")
        content = file.read(_MAX_FILE_SIZE + 1)
    if len(content) > _MAX_FILE_SIZE:
        raise ValueError(f"{path} is larger than {_MAX_FILE_SIZE} bytes: not a key file")
    return content


def _cookie(path: Path) -> bytes:
    """The cookie's hexadecimal digits; made if there are none yet."""
    try:
        try:
            content = read_private(path)
        except FileNotFoundError:
            _create(path)
            content = read_private(path)
    except KeyFileError:
        raise
    except OSError as error:
        raise KeyFileError(
            f"cannot read or create the cookie {path}: {error.strerror}; "
            f"pass auth_key= or name a private file in {KEY_FILE_VARIABLE}"
        ) from error
    digits = content.strip()
    try:
        complete = len(bytes.fromhex(digits.decode("ascii"))) == _COOKIE_BYTES
    except ValueError:
        complete = False
    if not complete:
        raise ValueError(
            f"{path} does not hold {2 * _COOKIE_BYTES} hexadecimal digits; remove it to have a new one made"
        )
    return digits


def _create(path: Path) -> None:
    """Put a new cookie there unless another process does so first."""
    path.parent.parent.mkdir(parents=True, exist_ok=True)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    # Complete before it has its name, so that a process racing with this one never reads half of it.
    temporary = path.with_name(f"cookie.{secrets.token_hex(8)}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_hex(_COOKIE_BYTES).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        _publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _publish(temporary: Path, path: Path) -> None:
    """Give a file its name; the first of several processes wins and the others keep quiet."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # A rename would replace the winner's, so only one process at a time may look and rename.
        directory = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)
            if not path.exists():
                os.rename(temporary, path)
        finally:
            os.close(directory)
