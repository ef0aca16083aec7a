"""Named pipes as files: made privately, held by a lock, removed by their maker or by who finds them later.

The maker of a pipe keeps an exclusive ``flock`` on it. The kernel drops it however the maker ends, so that a
pipe without one is nobody's.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path

SUFFIX = ".fifo"

_OPEN_FLAGS = os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


class NamedPipe:
    """A named pipe that this process holds, opened for both directions: it never ends, nor breaks.

    A context manager; leaving it removes the file. Who opened the pipe by then keeps it.
    """

    def __init__(self, path: str) -> None:
        """Make it, or take over one that nobody holds. ``OSError`` with ``EADDRINUSE`` if somebody does."""
        self.path = path
        while True:
            try:
                os.mkfifo(path, 0o600)
            except FileExistsError:
                pass
            try:
                self.descriptor = _open(path, os.O_RDWR)
            except FileNotFoundError:
                continue  # its last holder removed it meanwhile
            try:
                if _lock(self.descriptor) and _is_named(self.descriptor, path):
                    return
            except BaseException:
                os.close(self.descriptor)
                raise
            lost = _is_named(self.descriptor, path)
            os.close(self.descriptor)
            if lost:
                raise OSError(errno.EADDRINUSE, f"{path} is already in use")

    def close(self) -> None:
        """Remove the file, where it is still this pipe's, and let go."""
        if _is_named(self.descriptor, self.path):
            os.unlink(self.path)
        os.close(self.descriptor)

    def __enter__(self) -> NamedPipe:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_reader(path: str) -> int:
    """A descriptor for reading; ``OSError`` where there is no pipe."""
    return _open(path, os.O_RDONLY)


def open_writer(path: str) -> int:
    """A descriptor for writing; ``OSError`` (``ENXIO``, ``ENOENT``) where nobody reads."""
    return _open(path, os.O_WRONLY)


def sweep(directory: Path, prefix: str = "") -> None:
    """Remove the pipes in ``directory`` (those whose names begin so) whose makers are gone."""
    for name in os.listdir(directory):
        if name.startswith(prefix) and name.endswith(SUFFIX):
            try:
                left_behind = NamedPipe(str(directory / name))
            except OSError:
                continue  # somebody's, or no pipe at all
            left_behind.close()


def _open(path: str, mode: int) -> int:
    descriptor = os.open(path, mode | _OPEN_FLAGS)
    if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EADDRINUSE, f"{path} exists and is no named pipe")
    return descriptor


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_named(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False
