"""Children on their way: the one-time secrets they prove themselves with, and who waits for them."""

from __future__ import annotations

import secrets as random

import trio

from tractor_core.ipc.channel import Channel
from tractor_core.protocol.handshake import Peer


class Expected:
    """A child that was told to dial this actor."""

    def __init__(self, uuid: str) -> None:
        self.uuid = uuid
        self.secret = random.token_bytes(32)
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


class Secrets:
    """The one-time secrets of all children on their way (implements ``protocol.auth.SpawnSecrets``)."""

    def __init__(self) -> None:
        self._expected: dict[str, Expected] = {}
        self._proved: dict[str, Expected] = {}

    def expect(self, uuid: str) -> Expected:
        """Make a secret for a child about to be spawned."""
        expected = self._expected[uuid] = Expected(uuid)
        return expected

    def forget(self, uuid: str) -> None:
        """The child will not come (any more)."""
        self._expected.pop(uuid, None)
        self._proved.pop(uuid, None)

    def get(self, uuid: str) -> bytes | None:
        """The secret, while it has not been used."""
        expected = self._expected.get(uuid)
        return None if expected is None else expected.secret

    def consume(self, uuid: str) -> bool:
        """The secret was proved: nobody can use it again. False where somebody has."""
        expected = self._expected.pop(uuid, None)
        if expected is None:
            return False
        self._proved[uuid] = expected
        return True

    def connected(self, peer: Peer, channel: Channel) -> None:
        """Hand a child's channel to whoever spawned it."""
        if peer.method == "spawn":
            expected = self._proved.pop(peer.aid.uuid, None)
            if expected is not None:
                expected.arrive(channel)
