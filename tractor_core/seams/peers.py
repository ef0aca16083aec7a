"""What every listener does with its peers: a task each, a cap, and refusals that stay quiet."""

from __future__ import annotations

import logging

import trio

from tractor_core.errors import TransportClosed

from .transport import Connection, ConnectionHandler

logger = logging.getLogger("tractor_core.transport")

_MAX_KEYS = 256


class ThrottledLog:
    """Logs one line per key and second, then how many more there were.

    A peer that knocks all the time must not fill a pipe that nobody reads.
    """

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: dict[str, tuple[float, int]] = {}

    def warning(self, key: str, message: str, *args: object) -> None:
        """Log ``message % args`` unless a line with this key was logged less than a second ago."""
        self._log(logging.WARNING, key, message, args)

    def exception(self, key: str, message: str, *args: object) -> None:
        """The same for an error, with the traceback of the exception being handled."""
        self._log(logging.ERROR, key, message, args)

    def _log(self, level: int, key: str, message: str, args: tuple[object, ...]) -> None:
        now = trio.current_time()
        since, held_back = self._seen.get(key, (-1.0, 0))
        if since >= 0 and now - since < 1.0:
            self._seen[key] = (since, held_back + 1)
            return
        if len(self._seen) >= _MAX_KEYS:
            self._seen.clear()
        self._seen[key] = (now, 0)
        if held_back:
            message, args = message + " (and %d more like it before)", (*args, held_back)
        logger.log(level, message, *args, exc_info=level == logging.ERROR)


class PeerTasks:
    """The connections that one listener holds, and the tasks that serve them.

    A handler that raises ``Exception`` ends its own connection only. A connection is closed when
    its handler ends.
    """

    def __init__(self, nursery: trio.Nursery, handler: ConnectionHandler, max_connections: int) -> None:
        self._nursery = nursery
        self._handler = handler
        self._max_connections = max_connections
        self._connections: dict[Connection, None] = {}  # oldest first
        self._log = ThrottledLog()

    def __len__(self) -> int:
        return len(self._connections)

    def admit(self, connection: Connection) -> bool:
        """Start the handler for a new peer; False when it was refused and closed.

        At the cap the oldest connection that is not ``established`` makes room: whoever floods a
        listener then drops its own connections, not the newcomer that can prove itself.
        """
        if len(self._connections) >= self._max_connections and not self._make_room(connection):
            connection.abort()
            return False
        self._connections[connection] = None
        self._nursery.start_soon(self._run, connection, name=f"peer {connection.remote}")
        return True

    def _make_room(self, newcomer: Connection) -> bool:
        for connection in self._connections:
            if not connection.established:
                self._log.warning(
                    "dropped", "at %d connections: dropped silent peer %s", len(self), connection.remote
                )
                del self._connections[connection]
                connection.abort()
                return True
        self._log.warning("full", "at %d connections: refused %s", len(self), newcomer.remote)
        return False

    async def _run(self, connection: Connection) -> None:
        try:
            await self._handler(connection)
        except TransportClosed as exc:
            self._log.warning("broken", "peer %s: %s", connection.remote, exc)
        except Exception as exc:
            # Once dropped to make room, that it finds its connection closed is no news.
            if connection in self._connections or not isinstance(exc, trio.ClosedResourceError):
                self._log.exception("handler", "the handler of peer %s failed", connection.remote)
        finally:
            connection.abort()
            self._connections.pop(connection, None)
