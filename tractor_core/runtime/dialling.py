"""Dialling another actor by address."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Literal

import msgspec
import trio

from tractor_core.errors import PluginError, TractorError
from tractor_core.ipc.channel import Channel
from tractor_core.ipc.handshake import dial_handshake
from tractor_core.ipc.limits import Limits
from tractor_core.protocol.liveness import Heartbeat
from tractor_core.seams import Address, TransportOptions

from .actor import Actor
from .portal import Portal


def transport_options(actor: Actor, limits: Limits | None = None) -> TransportOptions:
    """What this actor tells its transports, under its own limits or others."""
    limits = limits or actor.limits
    return TransportOptions(
        handshake_frame=limits.max_handshake_frame,
        max_connections=limits.max_connections,
        connect_timeout=limits.handshake_timeout,
        key=actor.identity.key,
        tls=actor.tls,
    )


async def dial(
    actor: Actor,
    address: Address,
    *,
    expect_uuid: str | None = None,
    method: Literal["spawn", "token"] | None = None,
    secret: bytes = b"",
    patience: float | None = None,
    heartbeat: Heartbeat | None = None,
) -> Channel:
    """A new authenticated channel to whoever listens at ``address``.

    ``patience`` is how long to wait for a connection, and then for the handshake (seconds; default:
    ``Limits.handshake_timeout``); ``heartbeat`` how the channel is watched (default: as the actor's others).
    ``OSError`` when nobody can be reached there, ``TransportClosed`` when what is there speaks something
    else, ``AuthenticationFailed`` when one side refuses the other.
    """
    transport = actor.plugins.transport(address.scheme)
    limits = actor.limits
    if patience is not None:
        limits = msgspec.structs.replace(limits, handshake_timeout=patience)
    connection = await transport.connect(address, transport_options(actor, limits))
    try:
        peer, leftover = await dial_handshake(
            connection, actor.identity, limits, expect_uuid=expect_uuid, method=method, secret=secret
        )
    except BaseException:
        connection.abort()
        raise
    return actor.attach(connection, peer, leftover, dialled=True, heartbeat=heartbeat)


def told(addresses: Sequence[Address]) -> list[Address]:
    """Bound addresses, for somebody on this host, who can use what is advertised as well."""
    return list(dict.fromkeys(each for address in addresses for each in (address, address.advertised)))


def nearest_first(actor: Actor, urls: Sequence[str]) -> list[Address]:
    """The addresses that can be dialled from here, the nearest first; unknown schemes are left out."""
    ranked: list[tuple[int, Address]] = []
    for url in urls:
        scheme = url.partition(":")[0]
        try:
            transport = actor.plugins.transport(scheme)
            address = transport.parse(url)
        except (TractorError, ValueError):
            continue
        distance = transport.distance(address)
        if distance is not None:
            ranked.append((distance, address))
    return [address for _, address in sorted(ranked, key=lambda pair: pair[0])]


async def dial_any(
    actor: Actor, urls: Sequence[str], *, expect_uuid: str | None = None
) -> tuple[Channel | None, list[Address]]:
    """Dial the nearest of several addresses of one actor that answers; also those that did not."""
    refused: list[Address] = []
    for address in nearest_first(actor, urls):
        try:
            return await dial(actor, address, expect_uuid=expect_uuid), refused
        except PluginError:
            continue  # what is missing is missing here: nothing to tell others
        except (OSError, TractorError):
            refused.append(address)
    return None, refused


@asynccontextmanager
async def dialled_portal(actor: Actor, channel: Channel) -> AsyncIterator[Portal]:
    """A portal over a channel dialled for it, which is closed with it."""
    try:
        yield Portal(actor, channel)
    finally:
        with trio.CancelScope(shield=True):
            await channel.aclose()
