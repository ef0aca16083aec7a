"""Large values over a real socket: what is allocated for one on its way is the message itself, once."""

from __future__ import annotations

import contextlib
import socket
import tracemalloc
from collections.abc import Iterator

import pytest
import trio

from tractor_core.ipc.sending import SendingHalf
from tractor_core.msg import types as m
from tractor_core.msg.codec import wire_codec
from tractor_core.msg.gathered import Gathered, gather
from tractor_core.protocol.chunks import DIRECT_CHUNK, Joiner
from tractor_core.seams import Address, Place, SocketConnection
from tractor_core.seams.sockets import SPILL_SIZE

MIB = 1024 * 1024
CODEC = wire_codec()


@contextlib.contextmanager
def connected() -> Iterator[tuple[SocketConnection, SocketConnection]]:
    here = Address("uds", path="/tmp/none")
    near, far = (SocketConnection(end, here, here, max_frame=MIB) for end in socket.socketpair())
    try:
        yield near, far
    finally:
        near.abort()
        far.abort()


class Receiver:
    """Puts together what comes, as a channel does."""

    def __init__(self, connection: SocketConnection) -> None:
        self.joiner = Joiner(limit=2**30, budget=2**26)
        self.connection = connection
        #: Pieces that got a place, and how many bytes of them had been read before that.
        self.placed = self.copied = 0
        connection.placer = self._place

    def _place(self, frame: memoryview, length: int) -> Place | None:
        place = self.joiner.place(frame, length)
        if place is not None:
            self.placed += 1
            self.copied += len(frame) - place.start
        return place

    async def messages(self, count: int) -> list[m.MsgType]:
        found: list[m.MsgType] = []
        while len(found) < count:
            for frame in await self.connection.receive():
                message = CODEC.decode(frame)
                if isinstance(message, m.Chunk):
                    whole = self.joiner.add(message)
                    if whole is None:
                        continue
                    message = CODEC.decode(whole)
                found.append(message)
        return found


def gathered(cid: int, value: object) -> Gathered:
    frame = gather(m.Yield(cid, value), CODEC.encode)  # type: ignore[arg-type]
    assert frame is not None
    return frame


@pytest.mark.parametrize("size", [32 * MIB, 32 * MIB + 12345])
async def test_nothing_is_allocated_on_the_way_but_the_message(size: int) -> None:
    """Neither side joins or keeps copies: pieces go from the value to the message through the kernel."""
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    with connected() as (near, far):
        half, receiver = SendingHalf(near, CODEC.encode, binary=True), Receiver(far)
        tracemalloc.start()
        try:
            half.post_frame(gathered(2, data), 2)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(half._flush_all)
                (message,) = await receiver.messages(1)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert isinstance(message, m.Yield) and message.cid == 2
    assert CODEC.decoder(memoryview)(message.pld) == data
    # The message is mapped, not allocated; the rest is what one read and one piece need.
    assert peak < 2 * MIB
    # The first piece tells the size and is copied, and so is the second as far as it comes with it; of others
    # no more than one small read.
    pieces = size // DIRECT_CHUNK
    assert receiver.placed >= pieces - 4
    assert receiver.copied < pieces * SPILL_SIZE + 4 * DIRECT_CHUNK


async def test_several_beside_small_ones_arrive_as_they_were() -> None:
    """Dialogs take turns with their pieces, small frames overtake them, and each has its own place."""
    values = {cid: bytes([cid]) * (MIB + cid) for cid in (2, 4, 6)}
    with connected() as (near, far):
        half, receiver = SendingHalf(near, CODEC.encode, binary=True), Receiver(far)
        for cid, value in values.items():
            half.post_frame(gathered(cid, {"kind": cid, "data": value}), cid)
            half.post_frame(CODEC.encode(m.Stop(cid)), cid)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(half._flush_all)
            for serial in range(20):
                half.post_frame(CODEC.encode(m.Ping(serial)), -2)
            found = await receiver.messages(26)
    assert [message.serial for message in found if isinstance(message, m.Ping)] == list(range(20))
    for cid, value in values.items():
        mine = [message for message in found if getattr(message, "cid", None) == cid]
        assert [type(message) for message in mine] == [m.Yield, m.Stop]
        assert CODEC.decode_payload(mine[0].pld) == {"kind": cid, "data": value}  # type: ignore[union-attr]
    assert receiver.placed
