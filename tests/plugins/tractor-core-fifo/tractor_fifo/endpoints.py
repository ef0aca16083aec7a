"""Dialling and listening through a well-known pipe."""

from __future__ import annotations

import errno
import os
import re
import secrets
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

import trio

from tractor_core.seams import (
    Address,
    ConnectionHandler,
    PeerTasks,
    ThrottledLog,
    TransportOptions,
    parse_address,
)
from tractor_core.seams.socket_paths import prepare_directory, runtime_directory

from . import files
from .connection import FifoConnection

SCHEME = "fifo"

#: What the listener writes first into the pipe to the one who dialled.
_WELCOME = b"+"
#: One announcement: the process that dials and a token, as in the names of its pair.
_ANNOUNCED = re.compile(rb"[0-9]{1,10}-[0-9a-f]{16}")
#: How long a listener without descriptors waits before it looks again (seconds).
_BACKOFF = 0.1


class FifoTransport:
    """The transport named ``fifo``. Stateless; see ``tractor_core.seams.Transport``."""

    schemes = (SCHEME,)

    def parse(self, url: str) -> Address:
        """Check a ``fifo:///absolute/path`` URL."""
        address = parse_address(url)
        if address.scheme != SCHEME:
            raise ValueError(f"address {url!r}: scheme {address.scheme!r} is not fifo")
        if address.host or address.port is not None:
            raise ValueError(f"address {url!r}: a fifo address has no host (write three slashes)")
        if address.params:
            raise ValueError(f"address {url!r}: unknown parameter {address.params[0][0]!r}")
        if not address.path.startswith("/") or address.path.endswith("/"):
            raise ValueError(f"address {url!r}: the path is no absolute path of a file")
        return address

    def default_bind(self) -> Address:
        """A fresh name in this user's runtime directory."""
        return Address(SCHEME, path=f"{runtime_directory()}/{_fresh_token()}{files.SUFFIX}")

    def default_registry(self) -> Address:
        """``registry.fifo`` in this user's runtime directory."""
        return Address(SCHEME, path=f"{runtime_directory()}/registry{files.SUFFIX}")

    def exposure(self, address: Address) -> str:
        """``"user"``: the files have mode 0600."""
        return "user"

    def distance(self, address: Address) -> int | None:
        """1 where the pipe exists on this host (a socket is nearer), else None."""
        return 1 if os.path.exists(address.path) else None

    async def connect(self, address: Address, options: TransportOptions) -> FifoConnection:
        """Make a pair, announce it, and wait until the listener has opened it."""
        address = self.parse(address.url)
        await trio.lowlevel.checkpoint()
        token = _fresh_token()
        with ExitStack() as stack:
            announce = _knock(address)
            stack.callback(os.close, announce)
            there, back = (stack.enter_context(files.NamedPipe(path)) for path in _pair(address, token))
            reader = files.open_reader(back.path)
            try:
                with trio.move_on_after(options.connect_timeout) as patience:
                    await _announce(announce, token, address)
                    await _wait_for_welcome(reader, announce, address)
                if patience.cancelled_caught:
                    raise TimeoutError(errno.ETIMEDOUT, f"{address} accepted nobody in time")
                writer = files.open_writer(there.path)
            except BaseException:
                os.close(reader)
                raise
        return FifoConnection(reader, writer, _named(token), address, options.handshake_frame)

    async def listen(self, address: Address, options: TransportOptions) -> FifoListener:
        """Make the well-known pipe, or take over one that nobody holds any more."""
        address = self.parse(address.url)
        await trio.lowlevel.checkpoint()
        prepare_directory(Path(address.path).parent)
        pipe = files.NamedPipe(address.path)
        files.sweep(Path(address.path).parent, f"{Path(address.path).name}.")
        return FifoListener(pipe, address, options)

    async def tidy(self) -> None:
        """Remove the pipes of processes that were killed."""
        await trio.lowlevel.checkpoint()
        if runtime_directory().is_dir():
            files.sweep(runtime_directory())


class FifoListener:
    """Implements ``tractor_core.seams.Listener``."""

    def __init__(self, pipe: files.NamedPipe, address: Address, options: TransportOptions) -> None:
        self.address = address
        self._pipe = pipe
        self._options = options
        self._closed = False
        self._log = ThrottledLog()

    async def serve(
        self, handler: ConnectionHandler, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> NoReturn:
        """Read announcements for ever."""
        async with trio.open_nursery() as nursery:
            peers = PeerTasks(nursery, handler, self._options.max_connections)
            task_status.started()
            rest = b""
            while not self._closed:
                try:
                    await trio.lowlevel.wait_readable(self._pipe.descriptor)
                    *lines, rest = (rest + os.read(self._pipe.descriptor, 4096)).split(b"\n")
                except (trio.ClosedResourceError, BlockingIOError):
                    continue
                rest = rest[-64:]  # no announcement is longer: what is, is nobody's
                for line in lines:
                    await self._admit(peers, line)
        raise trio.ClosedResourceError(f"the listener on {self.address} was closed")

    async def aclose(self) -> None:
        """Stop listening and remove the well-known pipe. Idempotent."""
        if not self._closed:
            self._closed = True
            trio.lowlevel.notify_closing(self._pipe.descriptor)
            self._pipe.close()
        await trio.lowlevel.checkpoint()

    async def _admit(self, peers: PeerTasks, line: bytes) -> None:
        if not _ANNOUNCED.fullmatch(line):
            self._log.warning("noise", "%s ignored what is no announcement: %r", self.address, line[:64])
            return
        while not self._closed:
            try:
                connection = self._accept(line.decode())
            except OSError as exc:
                self._log.warning("accept", "%s cannot accept %s: %s", self.address, line.decode(), exc)
                if exc.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
                    return  # who dialled has gone
                await trio.sleep(_BACKOFF)
            else:
                peers.admit(connection)
                return

    def _accept(self, token: str) -> FifoConnection:
        there, back = _pair(self.address, token)
        with ExitStack() as stack:
            writer = files.open_writer(back)
            stack.callback(os.close, writer)
            reader = files.open_reader(there)
            stack.callback(os.close, reader)
            os.write(writer, _WELCOME)
            stack.pop_all()
        return FifoConnection(reader, writer, self.address, _named(token), self._options.handshake_frame)


def _knock(address: Address) -> int:
    """The well-known pipe, opened for announcements."""
    try:
        return files.open_writer(address.path)
    except OSError as exc:
        if exc.errno in (errno.ENOENT, errno.ENXIO):
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"nobody listens on {address}") from exc
        raise


async def _announce(announce: int, token: str, address: Address) -> None:
    """Write one line, short enough to be whole, once there is room for it."""
    while True:
        try:
            os.write(announce, f"{token}\n".encode())
        except BlockingIOError:
            await trio.lowlevel.wait_writable(announce)
        except BrokenPipeError as exc:
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"nobody listens on {address} any more") from exc
        else:
            return


async def _wait_for_welcome(reader: int, announce: int, address: Address) -> None:
    """Wait until the listener has opened the pair, or has gone."""
    refused = False

    async def watch_listener() -> None:
        nonlocal refused
        # A pipe's write end becomes readable when it breaks, and only then.
        await trio.lowlevel.wait_readable(announce)
        refused = True
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_listener)
        await trio.lowlevel.wait_readable(reader)
        nursery.cancel_scope.cancel()
    if refused or os.read(reader, 1) != _WELCOME:
        raise ConnectionRefusedError(errno.ECONNREFUSED, f"nobody listens on {address} any more")


def _fresh_token() -> str:
    return f"{os.getpid()}-{secrets.token_hex(8)}"


def _pair(address: Address, token: str) -> tuple[str, str]:
    """Where the two pipes of a connection are made: to the listener, and back."""
    return f"{address.path}.{token}.there{files.SUFFIX}", f"{address.path}.{token}.back{files.SUFFIX}"


def _named(token: str) -> Address:
    return Address(SCHEME, params=(("peer", token),))
