"""The listening endpoint: turns connections into authenticated peers, and survives all others."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, TypeAlias

import trio

from tractor_core.errors import AuthenticationFailed, TransportClosed
from tractor_core.protocol.auth import ClientTokens, SpawnSecrets
from tractor_core.protocol.handshake import Identity, Peer
from tractor_core.seams import Address, Buffer, Connection, Listener

from .handshake import accept_handshake
from .limits import Limits
from .quiet_log import QuietLog

logger = logging.getLogger("tractor_core.ipc")

#: Runs for as long as the peer's channel lives; the frames came with the handshake and are read first.
PeerHandler: TypeAlias = Callable[[Connection, Peer, list[Buffer]], Awaitable[None]]


class RefusalLog(QuietLog):
    """The peers that were refused: a line per address and second, then a count."""

    def __init__(self) -> None:
        super().__init__(logger, "refused %d more from %s within %g s", others="other addresses")

    def note(self, address: Address, reason: object) -> None:
        """Log that the peer at ``address`` was refused, now or in the count."""
        source = f"{address.scheme}://{address.host}" if address.host else f"{address.scheme} peers"
        self.warning(source, "refused peer %s: %s", address, reason)


class Endpoint:
    """A bound listener, and who this actor is to those that dial it."""

    def __init__(
        self,
        listener: Listener,
        identity: Identity,
        limits: Limits,
        spawn_secrets: SpawnSecrets,
        tokens: ClientTokens | None = None,
    ) -> None:
        self.listener = listener
        self.identity = identity
        self.limits = limits
        self.spawn_secrets = spawn_secrets
        self.tokens = tokens
        self._refusals = RefusalLog()

    @property
    def address(self) -> Address:
        """Where it listens, with the real port."""
        return self.listener.address

    async def serve(self, on_peer: PeerHandler, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Accept for ever, running ``on_peer`` in a task of its own for each peer that proved itself.

        The connection is closed when ``on_peer`` returns. What it raises is logged and ends its own
        connection only; a peer that does not get through the handshake costs one log line.
        Cancelling this cancels the handlers too. Calls ``task_status.started()`` once accepting.
        """

        async def handle(connection: Connection) -> None:
            try:
                await self._handle(connection, on_peer)
            finally:
                connection.abort()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._refusals.run)
            try:
                await self.listener.serve(handle, task_status=task_status)
            except Exception as error:
                # Kept, and raised outside of the nursery, which would wrap it in a group.
                failure = error
                nursery.cancel_scope.cancel()
        raise failure

    async def aclose(self) -> None:
        """Stop listening. Idempotent."""
        await self.listener.aclose()

    async def _handle(self, connection: Connection, on_peer: PeerHandler) -> None:
        try:
            peer, frames = await accept_handshake(
                connection, self.identity, self.limits, self.spawn_secrets, self.tokens
            )
        except (AuthenticationFailed, TransportClosed) as error:
            self._refusals.note(connection.remote, error)
            return
        except trio.ClosedResourceError:
            # The listener took the slot back, and has said so: see ``Limits.max_connections``.
            return
        except Exception as error:
            # A transport that breaks its contract; one line as for any other, the traceback on request.
            self._refusals.note(connection.remote, f"{type(error).__name__}: {error}")
            logger.debug("handshake with %s failed", connection.remote, exc_info=error)
            return
        try:
            await on_peer(connection, peer, frames)
            await connection.aclose()
        except Exception:
            logger.exception("channel of %s at %s failed", peer.aid, connection.remote)
