"""Connections that a program has made itself, as a listener whose peers are handed to it."""

from __future__ import annotations

from typing import Any, NoReturn

import trio

from tractor_core.errors import NoRuntime
from tractor_core.seams import Address, Connection, ConnectionHandler, PeerTasks


class HandedConnections:
    """Implements the ``Listener`` protocol of the transport seam, without an address of its own.

    An endpoint serves it like any other, so that a connection gets the same handshake, limits and log
    lines, whoever accepted it.
    """

    address = Address("handed")

    def __init__(self, max_connections: int) -> None:
        self._max_connections = max_connections
        self._give: trio.MemorySendChannel[Connection]
        self._give, self._take = trio.open_memory_channel[Connection](0)
        #: Set when the handler of a connection has ended.
        self._done: dict[Connection, trio.Event] = {}

    async def hand(self, connection: Connection) -> None:
        """Have a connection served; returns when it is closed. Closes it if cancelled.

        ``NoRuntime`` where nobody serves any more.
        """
        done = self._done[connection] = trio.Event()
        try:
            await self._give.send(connection)
        except BaseException as error:
            del self._done[connection]
            connection.abort()
            if isinstance(error, trio.BrokenResourceError | trio.ClosedResourceError):
                raise NoRuntime("this actor takes no connections any more") from None
            raise
        try:
            await done.wait()
        finally:
            connection.abort()
            # What its handler still has to do does not wait for the peer.
            with trio.CancelScope(shield=True):
                await done.wait()

    async def serve(
        self, handler: ConnectionHandler, *, task_status: Any = trio.TASK_STATUS_IGNORED
    ) -> NoReturn:
        """Serve what is handed over, for ever; see the seam's contract."""

        async def handle(connection: Connection) -> None:
            try:
                await handler(connection)
            finally:
                self._done.pop(connection).set()

        async with trio.open_nursery() as nursery:
            peers = PeerTasks(nursery, handle, self._max_connections)
            task_status.started()
            with self._take:
                async for connection in self._take:
                    if not peers.admit(connection):
                        self._done.pop(connection).set()
        raise trio.ClosedResourceError("no connections are taken any more")

    async def aclose(self) -> None:
        """Take no more. Idempotent."""
        self._give.close()
        await trio.lowlevel.checkpoint()
