"""Binding a socket file: private, over a stale one, never over a live one."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import trio

#: How often a lock held by another process is tried again (seconds). It is held for a bind only.
_LOCK_RETRY = 0.01
BACKLOG = 1024
#: Among the flags of a process in ``/proc`` (proc(5), <linux/sched.h>).
_PF_EXITING = 0x4


async def bind_file(sock: socket.socket, path: str, timeout: float) -> Callable[[], None]:
    """Bind and listen at ``path``, replacing a socket file that nobody listens on.

    Returns what removes the file again, if it is still this socket's. Raises ``OSError`` with
    ``EADDRINUSE`` when somebody listens there or the path is not a socket. ``timeout`` (seconds)
    bounds the wait for other processes that are binding the same path.
    """
    async with _locked(f"{path}.lock", timeout):
        # Listening starts under the lock: between bind and listen a socket looks stale.
        _remove_stale(path)
        _bind_private(sock, path)
        try:
            sock.listen(BACKLOG)
            status = os.stat(path)
        except BaseException:
            os.unlink(path)
            raise
    bound = (status.st_dev, status.st_ino)

    def remove() -> None:
        # Runs while the socket still listens: nobody then takes the path for stale, and the
        # kernel keeps the inode, so its number cannot have been given to another file.
        with contextlib.suppress(FileNotFoundError):
            now = os.lstat(path)
            if (now.st_dev, now.st_ino) == bound:
                os.unlink(path)

    return remove


async def sweep(directory: Path, timeout: float) -> None:
    """Remove the automatic socket files of processes that were killed before they could."""
    for path in _left_behind(directory):
        with contextlib.suppress(OSError):
            async with _locked(f"{path}.lock", timeout):
                _remove_stale(path)


def _left_behind(directory: Path) -> list[str]:
    found = []
    for name in os.listdir(directory):
        pid, dash, _ = name.partition("-")
        if dash and pid.isdecimal() and name.endswith(".sock") and not _process_exists(int(pid)):
            found.append(str(directory / name))
    return found


@contextlib.asynccontextmanager
async def _locked(path: str, timeout: float) -> AsyncIterator[None]:
    """Hold an exclusive ``flock`` on a file that exists only meanwhile.

    The holder unlinks the file before letting go. Whoever had opened that file then gets the lock on
    a name that is gone, which the check of the inode finds, and starts over.
    """
    deadline = trio.current_time() + timeout
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_named(descriptor, path):
                break
        except BlockingIOError:
            if trio.current_time() >= deadline:
                os.close(descriptor)
                raise OSError(errno.EADDRINUSE, f"another process holds {path}") from None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        await trio.sleep(_LOCK_RETRY)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)
        os.close(descriptor)


def _is_named(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


def _remove_stale(path: str) -> None:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise OSError(errno.EADDRINUSE, f"{path} exists and is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        error = probe.connect_ex(path)
    # Any other answer, a full backlog (EAGAIN) included, comes from somebody who is there.
    if error == errno.ENOENT:
        return
    if error != errno.ECONNREFUSED:
        raise OSError(errno.EADDRINUSE, f"{path} is already in use")
    os.unlink(path)


def _bind_private(sock: socket.socket, path: str) -> None:
    """Bind so that the file is 0600 from its first moment."""
    if sys.platform == "linux":
        # The file takes its mode from the socket's inode; no process-wide umask is touched.
        os.fchmod(sock.fileno(), 0o600)
        sock.bind(path)
    else:
        before = os.umask(0o177)
        try:
            sock.bind(path)
        finally:
            os.umask(before)


def _process_exists(pid: int) -> bool:
    """Whether there is such a process; one that is on its way out, or only waits to be reaped, is none."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return True
    # The second field is the program's name in brackets, and may itself hold blanks and brackets.
    state, _, _, _, _, _, flags, *_ = stat.rpartition(b")")[2].split()
    return state not in (b"Z", b"X") and not int(flags) & _PF_EXITING
