"""Run the handshake machines over a connection, within the time limit.

Both functions own the connection while they run: when they raise, it has been closed.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec
import trio

from tractor_core.errors import AuthenticationFailed, FrameTooLarge, TransportClosed
from tractor_core.protocol.auth import ClientTokens, SpawnSecrets, new_nonce
from tractor_core.protocol.handshake import (
    JSON,
    MSGPACK,
    Acceptor,
    Dialler,
    FrameCodec,
    HandshakeError,
    Identity,
    Peer,
    refusal,
)
from tractor_core.seams import Buffer, Connection

from .limits import Limits
from .sharing import can_share
from .turns import in_time


async def dial_handshake(
    connection: Connection,
    identity: Identity,
    limits: Limits,
    *,
    expect_uuid: str | None = None,
    method: Literal["spawn", "token"] | None = None,
    secret: bytes = b"",
) -> tuple[Peer, list[Buffer]]:
    """Prove this actor to the acceptor at the other end, and have it prove itself.

    Returns the peer and the frames that came in the same batch as its last one, which the channel
    must read first. ``method="spawn"`` proves with the ``secret`` that the spawner handed over, good
    for one start, ``"token"`` with a client's; ``expect_uuid`` names the actor that must be there.

    Raises ``AuthenticationFailed`` where either side refused, saying which, and ``TransportClosed``
    where the path broke, the time ran out or the peer does not speak this protocol.
    """
    identity, codec = _spoken(connection, identity, limits)
    machine = Dialler(
        identity,
        nonce=new_nonce(),
        facts=connection.facts,
        my_uid=_my_uid(),
        method=method,
        secret=secret,
        expect_uuid=expect_uuid,
        codec=codec,
    )

    async def exchange(frames: _Frames) -> Peer:
        await frames.send(machine.hello())
        await frames.send(machine.on_hello(await frames.receive()))
        peer = machine.on_answer(await frames.receive())
        connection.max_frame = limits.max_frame
        return peer

    return await _run(connection, limits, exchange)


async def accept_handshake(
    connection: Connection,
    identity: Identity,
    limits: Limits,
    spawn_secrets: SpawnSecrets,
    tokens: ClientTokens | None = None,
) -> tuple[Peer, list[Buffer]]:
    """Have the dialler prove itself, and prove this actor to it. See :func:`dial_handshake`."""
    identity, codec = _spoken(connection, identity, limits)
    machine = Acceptor(
        identity,
        nonce=new_nonce(),
        facts=connection.facts,
        my_uid=_my_uid(),
        spawn_secrets=spawn_secrets,
        tokens=tokens,
        codec=codec,
    )

    async def exchange(frames: _Frames) -> Peer:
        machine.on_hello(await frames.receive())
        await frames.send(machine.hello())
        answer, peer = machine.on_auth(await frames.receive())
        # Before the answer goes out: what the peer sends on receiving it may be large.
        connection.max_frame = limits.max_frame
        await frames.send(answer)
        return peer

    return await _run(connection, limits, exchange)


def _spoken(connection: Connection, identity: Identity, limits: Limits) -> tuple[Identity, FrameCodec]:
    """The handshake's encoding, and the identity as it introduces itself on this connection.

    It names its limits, shared memory only where that can be had, and offers no other encoding where the
    transport settled one.
    """
    bounds = limits.bounds
    if not can_share(connection):
        bounds = msgspec.structs.replace(bounds, max_shared=0)
    identity = msgspec.structs.replace(identity, bounds=bounds)
    settled = connection.facts.codec
    if settled is None:
        return identity, MSGPACK
    return msgspec.structs.replace(identity, codecs=(settled,)), JSON if settled == "json" else MSGPACK


def _my_uid() -> int:
    # What the kernel reports of a peer is its effective uid.
    return os.geteuid()


class _Frames:
    """One frame at a time from a connection that yields batches; the rest is kept.

    ``limit`` is the largest one (bytes); ``deadline`` (``trio.current_time()``) is when all must be there.
    """

    def __init__(self, connection: Connection, limit: int, deadline: float) -> None:
        self._connection = connection
        self._limit = limit
        self._deadline = deadline
        self._batch: list[Buffer] = []

    async def send(self, frame: bytes) -> None:
        while not self._connection.send_nowait([frame]):
            await in_time(self._connection.flush, self._deadline)
        if self._connection.pending:
            await in_time(self._connection.flush, self._deadline)

    async def receive(self) -> Buffer:
        if not self._batch:
            self._batch = list(await in_time(self._connection.receive, self._deadline))
            if not self._batch:
                raise TransportClosed("the peer closed the connection during the handshake")
        frame = self._batch.pop(0)
        if len(frame) > self._limit:
            raise FrameTooLarge(f"a handshake frame of {len(frame)} bytes, the limit is {self._limit}")
        return frame

    def rest(self) -> list[Buffer]:
        return self._batch


async def _run(
    connection: Connection, limits: Limits, exchange: Callable[[_Frames], Awaitable[Peer]]
) -> tuple[Peer, list[Buffer]]:
    """Run one side's exchange; translate what ends it, and close the connection then."""
    deadline = trio.current_time() + limits.handshake_timeout
    frames = _Frames(connection, limits.max_handshake_frame, deadline)
    where = connection.remote
    try:
        peer = await exchange(frames)
        connection.established = True
        return peer, frames.rest()
    except HandshakeError as error:
        if error.foreign:
            message = f"{where} is not a tractor-core peer: {error.reason}"
            raise TransportClosed(message, src_exc=error) from error
        if error.refused_by == "us":
            await _tell(connection, error.reason, limits.cancel_timeout)
            raise AuthenticationFailed(f"this actor refused {where}: {error.reason}") from error
        raise AuthenticationFailed(f"{where} refused this actor: {error.reason}") from error
    except FrameTooLarge as error:
        # What "GET / HTTP/1.1" looks like to a transport with a length prefix.
        raise FrameTooLarge(f"{where} is not a tractor-core peer: {error}", src_exc=error) from error
    except TransportClosed as error:
        raise TransportClosed(f"{where}: {error}", src_exc=error.src_exc) from error
    except trio.TooSlowError:
        raise TransportClosed(f"{where}: no handshake within {limits.handshake_timeout:g} s") from None
    finally:
        if not connection.established:
            connection.abort()


async def _tell(connection: Connection, reason: str, timeout: float) -> None:
    """Let the peer know why, if that needs no waiting; then close."""
    try:
        with trio.move_on_after(timeout):
            connection.send_nowait([refusal(reason, JSON if connection.facts.codec == "json" else MSGPACK)])
            await connection.aclose()
    except (TransportClosed, trio.ClosedResourceError):
        # It has gone already; the refusal stands without its hearing so.
        pass
