"""Children on their way: the secrets they prove themselves with, and who waits for them."""

from __future__ import annotations

import trio

from tractor_core.ipc.channel import Channel
from tractor_core.protocol.auth import OneTimeSecrets
from tractor_core.protocol.handshake import Peer


class Expected:
    """A child that was told to dial this actor."""

    def __init__(self, secret: bytes) -> None:
        self.secret = secret
        self._arrived = trio.Event()
        self._channel: Channel | None = None

    def arrive(self, channel: Channel) -> bool:
        """It has connected and proved itself; False where it has dialled again since, and that came first.

        It has given up what it dialled before. That may not show here yet, and two living channels by one
        secret there must never be.
        """
        other = self._channel
        if other is not None:
            if other.peer.attempt > channel.peer.attempt:
                return False
            other.abort()
        self._channel = channel
        self._arrived.set()
        return True

    async def channel(self) -> Channel:
        """Wait for it to connect and prove itself; called again, for it to do so again."""
        await self._arrived.wait()
        self._arrived = trio.Event()
        assert self._channel is not None
        return self._channel


class Secrets(OneTimeSecrets):
    """The secrets of all children on their way, and those children themselves."""

    def __init__(self) -> None:
        super().__init__()
        self._expected: dict[str, Expected] = {}

    def expect(self, uuid: str) -> Expected:
        """Make a secret for a child about to be spawned."""
        expected = self._expected[uuid] = Expected(self.issue(uuid))
        return expected

    def forget(self, uuid: str) -> None:
        """The child is there, or will not come (any more): its secret is worth nothing from now on."""
        self.revoke(uuid)
        self._expected.pop(uuid, None)

    def connected(self, peer: Peer, channel: Channel) -> bool:
        """Hand a child's channel to whoever spawned it; False where nobody waits for it (any more)."""
        if peer.method != "spawn":
            return True
        expected = self._expected.get(peer.aid.uuid)
        return expected is not None and expected.arrive(channel)
