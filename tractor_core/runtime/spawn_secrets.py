"""Children on their way: the one-time secrets they prove themselves with, and who waits for them."""

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

    def arrive(self, channel: Channel) -> None:
        self._channel = channel
        self._arrived.set()

    async def channel(self) -> Channel:
        """Wait for it to connect and prove itself."""
        await self._arrived.wait()
        assert self._channel is not None
        return self._channel


class Secrets(OneTimeSecrets):
    """The one-time secrets of all children on their way, and those children themselves."""

    def __init__(self) -> None:
        super().__init__()
        self._expected: dict[str, Expected] = {}

    def expect(self, uuid: str) -> Expected:
        """Make a secret for a child about to be spawned."""
        expected = self._expected[uuid] = Expected(self.issue(uuid))
        return expected

    def forget(self, uuid: str) -> None:
        """The child will not come (any more)."""
        self.revoke(uuid)
        self._expected.pop(uuid, None)

    def connected(self, peer: Peer, channel: Channel) -> None:
        """Hand a child's channel to whoever spawned it."""
        if peer.method == "spawn":
            expected = self._expected.pop(peer.aid.uuid, None)
            if expected is not None:
                expected.arrive(channel)
