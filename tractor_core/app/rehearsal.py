"""A small tree that comes and goes in one thread: what a process does before it is forked into actors.

A forked process shares its template's memory until one of the two writes to it, and an interpreter writes
most where code runs for the first time: it specializes the code, numbers types and functions, fills caches.
Whoever has gone through an actor's life once has done that for all.

Nothing of it may be seen from outside or remain. Its actors are tasks, connected by pairs of sockets that
have no address; it reads neither environment nor files, starts no thread, changes nothing that belongs to
the process, and knows no plugin but its own.
"""

from __future__ import annotations

import contextvars
import logging
import os
import socket
import sys
from typing import Final, NoReturn

import trio

from tractor_core.ipc.limits import Limits
from tractor_core.msg.exposure import Exposed
from tractor_core.msg.types import Aid
from tractor_core.plugin.entrypoints import TRANSPORT, Provider
from tractor_core.plugin.manager import PluginManager
from tractor_core.protocol.handshake import Identity
from tractor_core.runtime.actor import Actor
from tractor_core.runtime.status import serve_status
from tractor_core.seams import Address, ConnectionHandler, PeerTasks, TransportOptions, parse_address
from tractor_core.seams.sockets import SocketConnection
from tractor_core.supervision.nursery import nursery_in
from tractor_core.supervision.supervisor import Supervisor, new_uuid

from .inproc import InprocBackend
from .registry import settle_registry
from .running import run_actor

#: The URL scheme of the connections in a rehearsal.
SCHEME = "rehearsal"

#: It takes some ten milliseconds; whatever keeps it longer must not keep the actors that wait (seconds).
PATIENCE = 1.0

#: Who listens in a rehearsal.
_listeners: Final[trio.lowlevel.RunVar[dict[Address, PairListener]]] = trio.lowlevel.RunVar(
    "tractor_core rehearsal listeners"
)


def rehearse() -> None:
    """Start an actor, call it, and end it. Raises whatever goes wrong; leaves nothing behind in any case."""
    disabled = logging.root.manager.disable
    # What was imported before may have set up handlers, and no such actor is the program's.
    logging.disable(sys.maxsize)
    try:
        contextvars.Context().run(trio.run, _rehearse)
    finally:
        logging.disable(disabled)


async def answer(value: int) -> int:
    """What is called: the endpoint that every rehearsed actor exposes."""
    return value


async def _rehearse() -> None:
    with trio.fail_after(PATIENCE):
        _listeners.set({})
        root = _root()
        async with run_actor(root) as listeners:
            root.furnish(Supervisor(root))
            serve_status(root)
            await settle_registry(
                root, listeners, registry=[transport.default_bind()], explicit=True, bind=(), ensure=True
            )
            async with nursery_in(root) as nursery:
                portal = await nursery.start_actor("rehearsed", enable_modules=[__name__])
                await portal.run(answer, value=1)
                await nursery.cancel()


def _root() -> Actor:
    """Like a program's root actor, but for what that finds in its environment and changes in its process."""
    backend = InprocBackend()
    # By its name, as an actor gets to know its transports; the backend starts no actor elsewhere.
    plugins = PluginManager.from_table(
        [Provider(TRANSPORT, SCHEME, f"{__name__}:transport", "tractor-core", "")]
    )
    plugins.add_spawner(backend)
    root = Actor(
        Identity(Aid("rehearsal", new_uuid(), os.getpid()), os.urandom(32), key_explicit=True),
        plugins=plugins,
        limits=Limits(),
        exposed=Exposed(),
        is_root=True,
        runtime_vars={"_is_root": True, "_debug_mode": False},
    )
    root.transports = [SCHEME]
    root.start_method = backend.name
    return root


class PairTransport:
    """A ``Transport`` whose connections are pairs of sockets, among the listeners of one rehearsal."""

    schemes = (SCHEME,)

    def parse(self, url: str) -> Address:
        return parse_address(url)

    def default_bind(self) -> Address:
        return Address(SCHEME, f"number{len(_listeners.get()) + 1}", 0)

    default_registry = default_bind

    def exposure(self, address: Address) -> str:
        return "host"

    def distance(self, address: Address) -> int | None:
        return 0

    async def connect(self, address: Address, options: TransportOptions) -> SocketConnection:
        await trio.lowlevel.checkpoint()
        listener = _listeners.get()[address]
        ours, theirs = socket.socketpair()
        listener.admit(theirs)
        return SocketConnection(ours, address, address, max_frame=options.handshake_frame)

    async def listen(self, address: Address, options: TransportOptions) -> PairListener:
        await trio.lowlevel.checkpoint()
        listener = _listeners.get()[address] = PairListener(address, options)
        return listener


class PairListener:
    """Serves one end of each pair."""

    def __init__(self, address: Address, options: TransportOptions) -> None:
        self.address = address
        self._options = options
        self._peers: PeerTasks | None = None

    def admit(self, sock: socket.socket) -> None:
        """Take a peer's socket. ``ConnectionRefusedError`` where nobody serves."""
        if self._peers is None:
            sock.close()
            raise ConnectionRefusedError(f"nobody serves {self.address}")
        connection = SocketConnection(
            sock, self.address, self.address, max_frame=self._options.handshake_frame
        )
        self._peers.admit(connection)

    async def serve(
        self, handler: ConnectionHandler, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> NoReturn:
        async with trio.open_nursery() as nursery:
            self._peers = PeerTasks(nursery, handler, self._options.max_connections)
            task_status.started()
            await trio.sleep_forever()
        raise AssertionError("it is only ever cancelled")

    async def aclose(self) -> None:
        self._peers = None
        await trio.lowlevel.checkpoint()


#: What the row in the plugin table names.
transport = PairTransport()
