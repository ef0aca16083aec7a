"""An actor inside an ASGI application: one port serves pages and actor traffic.

The server has to run on trio: Hypercorn does with its trio worker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, MutableMapping
from typing import Any, TypeAlias

import trio

from tractor_core.errors import NoRuntime
from tractor_core.seams import Address, ConnectionServer, PeerFacts

from .addresses import check_origins
from .asgi_socket import AsgiSocket, Event, Receive, Send
from .connection import MessageSocket
from .embedding import GOING_AWAY, NOT_NOW, serve_opening
from .rules import JSON_PROTOCOL, NOT_SERVING, PROTOCOLS, Refused, Rules, own_origin

Scope: TypeAlias = MutableMapping[str, Any]

_NEEDS_TRIO = (
    "TractorASGI needs a server that runs on trio, such as Hypercorn with its trio worker "
    "(hypercorn --worker-class trio, or hypercorn.trio.serve)"
)
#: For servers that cannot answer a WebSocket request with anything but 403, RFC 6455: "policy violation".
_POLICY = 1008


class TractorASGI:
    """An ASGI application through which peers reach an actor, by ``ws://`` or ``wss://`` URLs.

    ``actor`` is the actor, or a function that returns it, called for each request, for applications that are
    built before the actor runs: ``tractor.current_actor`` is one. Where it raises ``NoRuntime``, and while
    the actor is ending, requests are answered 503.

    Browsers are let in for pages of this very server, as long as that is addressed as ``localhost`` or by an
    IP address, and for pages of ``origins`` (``"*"``: of all). ``path``, below where this is mounted, is the
    only one that is served; by default all that the surrounding application routes here are. Peers prove
    themselves as at any listener of the actor, within the same :class:`~tractor_core.Limits`.

    Raises ``ValueError`` for an origin that can be none. Calls raise ``RuntimeError`` under a server that
    does not run on trio. ::

        actors = TractorASGI(tractor.current_actor)
        app = Starlette(routes=[Route("/", page), WebSocketRoute("/actors", actors)])
    """

    def __init__(
        self,
        actor: ConnectionServer | Callable[[], ConnectionServer],
        *,
        origins: Iterable[str] = (),
        path: str | None = None,
    ) -> None:
        self._actor = actor
        self._rules = Rules(path, check_origins(origins))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one WebSocket, one HTTP request, or the server's own beginning and end."""
        kind = scope["type"]
        if kind == "lifespan":
            await _lifespan(receive, send)
        elif not trio.lowlevel.in_trio_run():
            raise RuntimeError(_NEEDS_TRIO)
        elif kind == "websocket":
            await self._websocket(scope, receive, send)
        elif kind == "http":
            await self._http(scope, send)
        else:
            raise ValueError(f"TractorASGI serves no scope of type {kind!r}")

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # "websocket.connect", which says no more than the scope does
        try:
            actor = self._find_actor()
        except Refused as refused:
            await _deny(scope, send, refused)
            return
        remote = _remote(scope)
        opened: list[AsgiSocket] = []

        async with trio.open_nursery() as nursery:

            async def open_socket(_: trio.Nursery) -> tuple[MessageSocket, PeerFacts]:
                protocol, origin = await self._settle(scope, send)
                socket = AsgiSocket(receive, send, text=protocol == JSON_PROTOCOL)
                # Not with the connection's own tasks: a server may not let go of a send that is cancelled.
                nursery.start_soon(socket.pump)
                opened.append(socket)
                facts = PeerFacts(origin=origin, encrypted=remote.scheme == "wss", codec=PROTOCOLS[protocol])
                return socket, facts

            served = await serve_opening(actor, open_socket, remote)
            for socket in opened:
                await socket.leave(*((GOING_AWAY, "") if served else (NOT_NOW, NOT_SERVING)))
            nursery.cancel_scope.cancel()

    async def _settle(self, scope: Scope, send: Send) -> tuple[str, str | None]:
        """Accept a request: its subprotocol and the page it is for; ``TransportClosed`` for a denied one."""
        origins = _headers(scope, b"origin")
        hosts = _headers(scope, b"host")
        own = own_origin(scope["scheme"] == "wss", hosts[0]) if len(hosts) == 1 else None
        try:
            protocol = self._rules.settle(_path(scope), origins, scope["subprotocols"], own_origin=own)
        except Refused as refused:
            await _deny(scope, send, refused)
            raise refused.closed() from None
        await send({"type": "websocket.accept", "subprotocol": protocol})
        return protocol, origins[0] if origins else None

    def _find_actor(self) -> ConnectionServer:
        try:
            actor = self._actor() if callable(self._actor) else self._actor
        except NoRuntime:
            raise Refused(503, NOT_SERVING) from None
        if not actor.serving:
            raise Refused(503, NOT_SERVING)
        return actor

    async def _http(self, scope: Scope, send: Send) -> None:
        try:
            self._rules.check_path(_path(scope))
            answer = Refused(426, f"this is for WebSockets of subprotocol {' or '.join(PROTOCOLS)}")
        except Refused as refused:
            answer = refused
        headers = [(b"upgrade", b"websocket")] if answer.status == 426 else []
        await _answer("http.response", send, answer, headers)


async def _lifespan(receive: Receive, send: Send) -> None:
    await receive()
    if not trio.lowlevel.in_trio_run():
        await send({"type": "lifespan.startup.failed", "message": _NEEDS_TRIO})
        return
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def _deny(scope: Scope, send: Send, refused: Refused) -> None:
    if "websocket.http.response" in (scope.get("extensions") or {}):
        await _answer("websocket.http.response", send, refused)
    else:
        await send({"type": "websocket.close", "code": _POLICY, "reason": refused.why})


async def _answer(
    kind: str, send: Send, answer: Refused, headers: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    body = f"{answer.why}\n".encode()
    start: Event = {
        "type": f"{kind}.start",
        "status": answer.status,
        "headers": [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", str(len(body)).encode()),
            *headers,
        ],
    }
    await send(start)
    await send({"type": f"{kind}.body", "body": body})


def _headers(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name]


def _path(scope: Scope) -> str:
    """The path below where the application is mounted."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", "")) or "/"


def _remote(scope: Scope) -> Address:
    host, port = scope.get("client") or ("", None)
    return Address(scope["scheme"], host, port)
