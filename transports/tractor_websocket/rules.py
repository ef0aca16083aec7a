"""Which requests become WebSockets and what may travel over them: the same, whoever parses the HTTP."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tractor_core.errors import TransportClosed
from tractor_core.seams.hosts import is_loopback, is_numeric

from .addresses import origin_allowed
from .connection import MAX_FRAME, TOO_LARGE, SocketEnded

#: Subprotocols: which codec every message is in. Binary messages for the first, text for the second.
MSGPACK_PROTOCOL = "tractor-core.msgpack.v1"
JSON_PROTOCOL = "tractor-core.json.v1"
PROTOCOLS = {MSGPACK_PROTOCOL: "msgpack", JSON_PROTOCOL: "json"}

#: How much of what a peer said is repeated in an error (characters).
SHOWN = 200

#: Why there is no WebSocket of an actor that takes no connections.
NOT_SERVING = "the actor does not run here, or is ending"

_WRONG_KIND = 1003


class Refused(Exception):
    """A request that gets no WebSocket: the HTTP status and the reason."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why

    def closed(self) -> TransportClosed:
        """For the log."""
        return TransportClosed(f"refused a WebSocket: {self.why}")


class Rules:
    """Who may have a WebSocket: pages of ``origins``, and all programs, at ``path`` (None: anywhere)."""

    def __init__(self, path: str | None, origins: frozenset[str]) -> None:
        self._path = path
        self._origins = origins

    def settle(
        self,
        path: str,
        origins: Sequence[str],
        proposed: Iterable[str],
        *,
        own_origin: str | None = None,
    ) -> str:
        """The subprotocol to accept, or :class:`Refused`. ``own_origin`` is let in without being listed."""
        for origin in origins:
            # More than one is no browser's doing; every one of them must be fine then.
            if not origin_allowed(origin, self._origins) and origin.lower() != own_origin:
                why = f"pages from {origin[:SHOWN]!r} may not connect here (origins= lists who may)"
                raise Refused(403, why)
        self.check_path(path)
        for each in proposed:
            if each in PROTOCOLS:
                return each
        raise Refused(400, f"offer the subprotocol {MSGPACK_PROTOCOL} or {JSON_PROTOCOL}")

    def check_path(self, path: str) -> None:
        """:class:`Refused` where there is nothing."""
        if self._path is not None and path.partition("?")[0] != self._path:
            raise Refused(404, f"there is nothing at {path[:SHOWN]!r}")


def own_origin(secure: bool, host_header: str) -> str | None:
    """The origin of pages that a server serves itself, where a request's ``Host`` can be believed.

    A name cannot: anybody can make a name of theirs point at any address, and have their pages call it. An
    IP address and ``localhost`` are nobody's to point elsewhere.
    """
    header = host_header.lower()
    host = header[1:].partition("]")[0] if header.startswith("[") else header.partition(":")[0]
    if not is_numeric(host) and not is_loopback(host):
        return None
    return f"{'https' if secure else 'http'}://{header}"


def as_frame(message: str | bytes, *, text: bool) -> bytes:
    """The frame in a message; ``SocketEnded`` with the code to close with where it may hold none."""
    if isinstance(message, str) is not text:
        kind, protocol = ("binary", JSON_PROTOCOL) if text else ("text", MSGPACK_PROTOCOL)
        raise SocketEnded(_WRONG_KIND, f"a {kind} message came under subprotocol {protocol}")
    if len(message) > MAX_FRAME:
        raise _too_large(len(message))
    if not isinstance(message, str):
        return message
    frame = message.encode()
    if len(frame) > MAX_FRAME:
        raise _too_large(len(frame))
    return frame


def _too_large(size: int) -> SocketEnded:
    return SocketEnded(TOO_LARGE, f"a message of {size} bytes came, {MAX_FRAME} are allowed")
