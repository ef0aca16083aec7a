"""The faults: each is done to a process from outside, by means that it has no say in."""

from __future__ import annotations

import ctypes
import os
import random
import resource
import signal
import socket
import stat
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

import trio

from tractor_core.seams import Address, parse_address

from .processes import children, command, send

#: System call numbers, the same on every architecture; the standard library has no wrapper for these.
_PIDFD_GETFD: Final = 438

#: Seconds for which noise keeps its connection open: longer ones are cut by the handshake timeout.
_NOISE_LASTS: Final = 0.3


class Missed(Exception):
    """There was nothing to do this to."""


Deed = Callable[[int, Sequence[str], float], Awaitable[None]]


async def inflict(kind: str, pid: int, urls: Sequence[str], amount: float) -> None:
    """Do it to the process ``pid`` that listens at ``urls``; returns when it is over.

    :class:`Missed` where the process is gone, or has nothing that this fault could strike.
    """
    await DEEDS[kind](pid, urls, amount)


async def _kill(pid: int, urls: Sequence[str], amount: float) -> None:
    _signal(pid, signal.SIGKILL)


async def _terminate(pid: int, urls: Sequence[str], amount: float) -> None:
    _signal(pid, signal.SIGTERM)


async def _stop(pid: int, urls: Sequence[str], amount: float) -> None:
    _signal(pid, signal.SIGSTOP)


async def _delay(pid: int, urls: Sequence[str], amount: float) -> None:
    """Have it stand still for a while."""
    _signal(pid, signal.SIGSTOP)
    try:
        await trio.sleep(amount)
    finally:
        send(pid, signal.SIGCONT)


async def _template(pid: int, urls: Sequence[str], amount: float) -> None:
    """Kill the process from which its forkserver forks."""
    for child in children(pid):
        if "tractor_forkserver" in command(child):
            return _signal(child, signal.SIGKILL)
    raise Missed


async def _descriptors(pid: int, urls: Sequence[str], amount: float) -> None:
    """Let it have hardly any more descriptors for a while."""
    try:
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        used = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
        lowest = next(number for number in range(len(used) + 1) if number not in used)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (lowest + int(amount * 1000) % 4, before[1]))
    except (ProcessLookupError, FileNotFoundError):
        raise Missed from None
    try:
        await trio.sleep(amount)
    finally:
        with suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def _signal(pid: int, number: signal.Signals) -> None:
    if not send(pid, number):
        raise Missed


# -- connections -----------------------------------------------------------------------------------


async def _cut(pid: int, urls: Sequence[str], amount: float) -> None:
    """Shut one of its connections down, as a network that fails would."""
    with _one_connection(pid, amount) as connection:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


async def _inject(pid: int, urls: Sequence[str], amount: float) -> None:
    """Write noise into the middle of one of its authenticated connections."""
    with _one_connection(pid, amount) as connection:
        with suppress(OSError):
            connection.send(random.Random(amount).randbytes(200), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


@contextmanager
def _one_connection(pid: int, amount: float) -> Iterator[socket.socket]:
    """One of the process's connections, shared with it. :class:`Missed` where it has none."""
    with ExitStack() as stack:
        found = [stack.enter_context(connection) for connection in _connections(pid)]
        if not found:
            raise Missed
        yield found[int(amount * 1000) % len(found)]


def _connections(pid: int) -> Iterator[socket.socket]:
    try:
        pidfd = os.pidfd_open(pid)
        names = sorted(os.listdir(f"/proc/{pid}/fd"), key=int)
    except OSError:
        return
    try:
        for name in names:
            with suppress(OSError):
                if stat.S_ISSOCK(os.stat(f"/proc/{pid}/fd/{name}").st_mode):
                    connection = socket.socket(fileno=_taken(pidfd, int(name)))
                    if _is_between_actors(connection):
                        yield connection
                    else:
                        connection.close()
    finally:
        os.close(pidfd)


def _taken(pidfd: int, number: int) -> int:
    """A descriptor of our own for another process's open file (pidfd_getfd(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    taken = int(libc.syscall(_PIDFD_GETFD, pidfd, number, 0))
    if taken < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return taken


def _is_between_actors(connection: socket.socket) -> bool:
    """Whether it is a connected stream, and no pair of sockets that a process keeps for itself."""
    try:
        names = connection.getsockname(), connection.getpeername()
    except OSError:
        return False
    return connection.type == socket.SOCK_STREAM and any(names)


# -- noise at a listener ---------------------------------------------------------------------------

NOISES: Final[tuple[bytes, ...]] = (
    b"",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"\xff" * 64,
    b"\x00\x00\x00\x08trunc",
    b"\x7f\xff\xff\xff" + b"bomb" * 100,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x55" * 100,
    bytes(range(256)) * 512,
)


async def _noise(pid: int, urls: Sequence[str], amount: float) -> None:
    """Send what is no handshake to each of its listeners, and be slow to leave."""
    if not urls:
        raise Missed
    noise = NOISES[int(amount * 1000) % len(NOISES)]
    async with trio.open_nursery() as tasks:
        for url in urls:
            tasks.start_soon(_shout, parse_address(url), noise)


async def _shout(address: Address, noise: bytes) -> None:
    try:
        if address.scheme in ("uds", "zmq+ipc"):
            stream = await trio.open_unix_socket(address.path)
        else:
            stream = await trio.open_tcp_stream(address.host, address.port or 0)
    except OSError:
        return  # it has ended
    async with stream:
        with suppress(trio.BrokenResourceError), trio.move_on_after(_NOISE_LASTS):
            await stream.send_all(noise)
            while await stream.receive_some(4096):
                pass


DEEDS: Final[Mapping[str, Deed]] = {
    "kill": _kill,
    "terminate": _terminate,
    "stop": _stop,
    "cut": _cut,
    "inject": _inject,
    "template": _template,
    "delay": _delay,
    "noise": _noise,
    "descriptors": _descriptors,
}
