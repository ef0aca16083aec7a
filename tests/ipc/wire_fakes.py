"""An in-memory connection and listener whose every frame a test can see, hold or forge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import trio

from tractor_core.errors import FrameTooLarge, TransportClosed
from tractor_core.seams import Address, Buffer, PeerFacts
from tractor_core.seams.transport import HANDSHAKE_FRAME_LIMIT, ConnectionHandler


class FakeConnection:
    """One end of a pair. What is sent lands in the other end's ``inbox``, in batches as sent."""

    def __init__(self, name: str, facts: PeerFacts) -> None:
        self.local = Address("fake", name)
        self.remote = self.local
        self.facts = facts
        self.max_frame = HANDSHAKE_FRAME_LIMIT
        self.max_send_frame: int | None = None
        self.established = False
        self.pending = False
        self.closed = False
        self.clogged = False
        self.sent: list[bytes] = []
        self.inbox: list[list[Buffer]] = []
        self.ended = False
        self.broken: BaseException | None = None
        self._news = trio.Event()
        self.other = self

    @classmethod
    def pair(
        cls, near_facts: PeerFacts | None = None, far_facts: PeerFacts | None = None, *, name: str = "near"
    ) -> tuple[FakeConnection, FakeConnection]:
        near, far = cls(name, near_facts or PeerFacts()), cls("far", far_facts or PeerFacts())
        near.other, far.other = far, near
        near.remote, far.remote = far.local, near.local
        return near, far

    def deliver(self, *frames: Buffer) -> None:
        """Let this end receive these frames as one batch."""
        self.inbox.append(list(frames))
        self.wake()

    def wake(self) -> None:
        self._news.set()
        self._news = trio.Event()

    def send_nowait(self, frames: Sequence[Buffer]) -> int:
        self._check_open()
        if self.clogged:
            return 0
        copies = [bytes(frame) for frame in frames]
        self.sent += copies
        self.other.deliver(*copies)
        return len(copies)

    async def flush(self) -> None:
        await trio.lowlevel.checkpoint()
        while self.clogged:
            self._check_open()
            await self._news.wait()

    async def receive(self) -> Sequence[Buffer]:
        await trio.lowlevel.checkpoint()
        while True:
            self._check_open()
            if self.inbox:
                batch = self.inbox.pop(0)
                for frame in batch:
                    if len(frame) > self.max_frame:
                        raise FrameTooLarge(f"a frame of {len(frame)} bytes")
                return batch
            if self.ended:
                return []
            await self._news.wait()

    def abort(self) -> None:
        if not self.closed:
            self.closed = True
            self.other.ended = True
            self.wake()
            self.other.wake()

    async def aclose(self) -> None:
        self.abort()
        await trio.lowlevel.checkpoint()

    def _check_open(self) -> None:
        if self.closed:
            raise trio.ClosedResourceError("closed here")
        if self.broken is not None:
            raise TransportClosed("reset by the peer", src_exc=self.broken)


class FakeListener:
    """A listener that is told whom to accept."""

    def __init__(self) -> None:
        self.address = Address("fake", "here", 1)
        self.closed = False
        self._accepted, self._waiting = trio.open_memory_channel[FakeConnection](10_000)

    def connect(self, facts: PeerFacts | None = None, *, name: str = "near") -> FakeConnection:
        """The dialler's end of a new connection."""
        near, far = FakeConnection.pair(facts, facts, name=name)
        self._accepted.send_nowait(far)
        return near

    async def serve(
        self, handler: ConnectionHandler, *, task_status: Any = trio.TASK_STATUS_IGNORED
    ) -> NoReturn:
        async with trio.open_nursery() as nursery:
            task_status.started()
            while True:
                nursery.start_soon(handler, await self._waiting.receive())

    async def aclose(self) -> None:
        self.closed = True
        await trio.lowlevel.checkpoint()
