"""``self:status``: what an actor says of itself."""

from __future__ import annotations

from typing import Any

from tractor_core.ipc.channel import Channel

from .actor import Actor
from .system import SystemEndpoint


def serve_status(actor: Actor) -> None:
    """Offer the status in namespace ``self``."""

    async def status(channel: Channel) -> dict[str, Any]:
        channels = [channel for peers in actor.peers.values() for channel in peers]
        return {
            "name": actor.aid.name,
            "uuid": actor.aid.uuid,
            "pid": actor.aid.pid,
            "is_registrar": actor.is_registrar,
            "addresses": [address.advertised.url for address in actor.accept_addrs],
            "registry": [address.url for address in actor.reg_addrs],
            "channels": len(channels),
            "dialogs": sum(len(channel.dialogs) for channel in channels),
            "shared": sum(channel.shared for channel in channels),
            "cancel_called": actor.cancel_called,
        }

    actor.system.add("status", SystemEndpoint(status, "asyncfunc"))
