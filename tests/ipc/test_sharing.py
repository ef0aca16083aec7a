"""Large messages in shared memory, between two channels of this process and against hostile peers."""

from __future__ import annotations

import array
import contextlib
import fcntl
import gc
import os
import socket
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from tractor_core.errors import TransportClosed
from tractor_core.ipc.channel import Channel
from tractor_core.ipc.cookie import derive_key
from tractor_core.ipc.handshake import accept_handshake
from tractor_core.ipc.limits import Limits
from tractor_core.msg import types as m
from tractor_core.msg.codec import wire_codec
from tractor_core.protocol.auth import OneTimeSecrets
from tractor_core.protocol.handshake import Identity, Peer
from tractor_core.protocol.lending import BYTES_PER_PLACE
from tractor_core.seams import Address, Buffer, PeerFacts, SocketConnection, TransportOptions
from tractor_uds.descriptors import UdsConnection

MIB = 1024 * 1024
SIZE = 8 * MIB
LIMITS = Limits(shared_memory=SIZE)
HERE = Address("uds", path="/tmp/none")
VIEW = wire_codec().decoder(memoryview)
FACTS = PeerFacts(pid=os.getpid(), uid=os.geteuid(), same_host=True)


def peer_of(limits: Limits, **facts: Any) -> Peer:
    aid = m.Aid("peer", "p" * 32, os.getpid())
    values: dict[str, Any] = {"role": "tree", "method": "peercred", "codec": "msgpack"} | facts
    return Peer(aid, values["codec"], values["role"], values["method"], FACTS, limits.bounds)


def raw(channel: Channel) -> Channel:
    channel._raw = True
    return channel


def on(sock: socket.socket, limits: Limits, *, there: Limits, dialled: bool, **facts: Any) -> Channel:
    kind = facts.pop("kind", UdsConnection)
    connection = kind(sock, HERE, HERE, facts=facts.pop("facts", FACTS), max_frame=limits.max_frame)
    return raw(Channel(connection, peer_of(there, **facts), limits, dialled=dialled))


@asynccontextmanager
async def channels(
    here: Limits = LIMITS, there: Limits = LIMITS, **facts: Any
) -> AsyncIterator[tuple[Channel, Channel]]:
    near, far = socket.socketpair()
    one = on(near, here, there=there, dialled=True, **facts)
    other = on(far, there, there=here, dialled=False, **facts)
    try:
        yield one, other
    finally:
        await one.aclose()
        await other.aclose()


async def sent(one: Channel, other: Channel, *messages: m.MsgType) -> list[Any]:
    """Send; what arrived. The sender reads too, as an actor would."""
    found: list[Any] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_reading, one)

        async def send() -> None:
            for message in messages:
                await one.send(message)

        nursery.start_soon(send)
        while len(found) < len(messages):
            found.append(await other.recv())
        await trio.testing.wait_all_tasks_blocked(0.01)
        nursery.cancel_scope.cancel()
    return found


async def keep_reading(channel: Channel) -> None:
    with contextlib.suppress(TransportClosed):
        async for _ in channel:
            pass


def value(byte: int, size: int = MIB, cid: int = 2) -> m.Yield:
    return m.Yield(cid, bytes([byte]) * size)  # type: ignore[arg-type]


async def agreed(one: Channel, other: Channel) -> None:
    """Bring it about that ``one`` may lend: by a first large message."""
    await sent(one, other, value(0), value(0, 10))
    assert one._lending is not None and one._lending._lender is not None


async def test_the_first_goes_as_always_and_the_others_in_memory() -> None:
    async with channels() as (one, other):
        await agreed(one, other)
        assert (one.shared, other.shared) == (0, 0)
        messages = [value(1), value(2, 100), value(3, 200_000), value(4, 3 * MIB)]
        found = await sent(one, other, *messages)
        # The last is more than one message may take of so little memory.
        assert (one.shared, other.shared) == (2, 2)
        assert [bytes(VIEW(each.pld)) for each in found] == [each.pld for each in messages]
        # The other way, it is agreed for itself.
        await agreed(other, one)
        await sent(other, one, value(5))
        assert (one.shared, other.shared) == (3, 3)


async def test_views_are_of_the_memory_and_bytes_are_not() -> None:
    async with channels() as (one, other):
        await agreed(one, other)
        (message,) = await sent(one, other, value(7))
        view = VIEW(message.pld)
        copy = wire_codec().decode_payload(message.pld)
        assert one._lending is not None and one._lending._memory is not None
        at = one._lending._memory.find(b"\x07" * 100)
        one._lending._view[at : at + 5] = b"other"
        assert view[:5] == b"other" and view.readonly
        assert copy == b"\x07" * MIB


async def test_order_is_kept_whatever_way_each_message_goes() -> None:
    async with channels() as (one, other):
        await agreed(one, other)
        sizes = [MIB, 10, 3 * MIB, 200_000, 5, 4 * MIB, MIB, MIB, MIB, MIB, MIB, MIB, MIB, MIB, 70_000] * 3
        messages = [value(index, size) for index, size in enumerate(sizes)]
        # Views are kept, so that the memory is soon used up.
        found = [VIEW(each.pld) for each in await sent(one, other, *messages)]
        assert [(view[0], len(view)) for view in found] == list(enumerate(sizes))
        assert 7 < other.shared < len(sizes)
        assert other.shared == one.shared


async def test_who_keeps_all_views_only_gets_no_more_memory() -> None:
    async with channels() as (one, other):
        await agreed(one, other)
        kept = [VIEW(each.pld) for each in await sent(one, other, *(value(i) for i in range(20)))]
        full = one.shared
        assert full == 7, "seven messages of a little over 1 MiB find a place in 8 MiB"
        await sent(one, other, value(1))
        assert one.shared == full
        assert [view[0] for view in kept] == list(range(20))
        del kept
        # Told when the next large one comes, which still goes the ordinary way.
        await sent(one, other, value(1))
        assert one.shared == full
        await sent(one, other, value(1))
        assert one.shared == full + 1


async def test_ten_thousand_values_reuse_little_memory() -> None:
    async with channels() as (one, other):
        await agreed(one, other)
        message = value(3, 140_000)

        async def send() -> None:
            for _ in range(10_000):
                await one.send(message)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_reading, one)
            nursery.start_soon(send)
            for _ in range(10_000):
                received = await other.recv()
                assert isinstance(received, m.Yield) and len(VIEW(received.pld)) == 140_000
            nursery.cancel_scope.cancel()
        assert other.shared > 5_000
        for channel in (one, other):
            assert len(channel._borrowing._untold if channel._borrowing else ()) < 100
        assert one._lending is not None and one._lending._lender is not None
        assert one._lending._lender.lent <= SIZE // 140_000


async def test_views_may_end_in_any_thread() -> None:
    async with channels() as (one, other):
        await agreed(one, other)
        kept = [VIEW(each.pld) for each in await sent(one, other, *(value(i) for i in range(7)))]
        threads = [threading.Thread(target=kept.pop) for _ in range(7)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        await sent(one, other, value(1), value(2))
        before = one.shared
        await sent(one, other, value(1), value(2))
        assert one.shared == before + 2


async def test_views_outlive_the_channel_and_the_rest_is_gone() -> None:
    async with channels() as (one, other):
        await agreed(one, other)
        found = await sent(one, other, *(value(i) for i in range(3)))
        view = VIEW(found[1].pld)[1000:2000]
    gc.collect()
    assert view == b"\x01" * 1000
    assert mapped() == 1
    del found, view
    gc.collect()
    assert mapped() == 0


def mapped() -> int:
    with open("/proc/self/maps") as maps:
        return sum("memfd:tractor-core" in line for line in maps)


@pytest.mark.parametrize(
    "options",
    [
        {"here": Limits(shared_memory=0)},
        {"there": Limits(shared_memory=0)},
        {"codec": "json"},
        {"role": "client"},
        {"facts": PeerFacts(pid=1, uid=os.geteuid() + 1, same_host=True)},
        {"facts": PeerFacts()},
        {"kind": SocketConnection},
    ],
    ids=str,
)
async def test_where_it_is_not_agreed_on_nothing_changes(options: dict[str, Any]) -> None:
    async with channels(**options) as (one, other):
        await sent(one, other, value(0, 200_000), value(0, 200_000))
        found = await sent(one, other, value(1, MIB))
        assert len(memoryview(found[0].pld)) >= MIB
        assert (one.shared, other.shared) == (0, 0)
        await other.send(m.Invite())
        with pytest.raises(TransportClosed, match="where no memory is shared"):
            await one.recv()
    assert mapped() == 0


async def test_the_smaller_of_both_limits_counts() -> None:
    async with channels(there=Limits(shared_memory=MIB)) as (one, other):
        await agreed(one, other)
        await sent(one, other, value(1, 200_000), value(1, MIB))
        assert one.shared == 1
        await agreed(other, one)
        await sent(other, one, value(1, 200_000), value(1, MIB))
        assert one.shared == 2


@pytest.mark.parametrize("who", ["borrower", "lender"])
async def test_without_a_descriptor_left_it_goes_as_always(monkeypatch: pytest.MonkeyPatch, who: str) -> None:
    create, asked = os.memfd_create, 0

    def none_left(name: str, flags: int) -> int:
        nonlocal asked
        asked += not flags & 0x8  # where it fails it is tried again without this flag
        if who == "lender" and asked == 0:
            asked += 1
            return create(name, flags)
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "memfd_create", none_left)
    async with channels() as (one, other):
        await sent(one, other, value(0), value(1))
        assert asked
        found = await sent(one, other, value(1))
        assert VIEW(found[0].pld) == b"\x01" * MIB
        assert (one.shared, other.shared) == (0, 0)
        monkeypatch.setattr(os, "memfd_create", create)
        await sent(one, other, value(1), value(2), value(3))
        # Who could not take any asks as soon as it can; who could not make any was asked once.
        assert (one.shared > 0) == (who == "borrower")


async def test_while_the_path_is_full_the_memory_waits_for_its_turn() -> None:
    """The invitation comes while a flood is on its way: what was begun goes on, the rest uses the memory."""
    async with channels() as (one, other):
        messages = [value(i, cid=cid) for i in range(12) for cid in (2, 4, 6)]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_reading, one)
            for message in messages:
                one.post(message)
            found = [await other.recv() for _ in messages]
            nursery.start_soon(one.send, value(9, 10))
            found.append(await other.recv())
            one.post(value(8))
            last = await other.recv()
            nursery.cancel_scope.cancel()
        assert sorted(VIEW(each.pld)[0] for each in found[:-1]) == sorted(i for i in range(12) for _ in "abc")
        assert isinstance(last, m.Yield) and one.shared == 1


# -- hostile peers -------------------------------------------------------------------------------


class Hostile:
    """The other end of a channel that has invited it to lend."""

    def __init__(self, sock: socket.socket) -> None:
        self.connection = UdsConnection(sock, HERE, HERE, max_frame=MIB)

    def say(self, *messages: m.Message) -> None:
        frames = [wire_codec().encode(message) for message in messages]
        assert self.connection.send_nowait(frames) == len(frames)

    def say_with(self, message: m.Message, *descriptors: int) -> None:
        frame = wire_codec().encode(message)
        data = len(frame).to_bytes(4, "little") + frame
        beside = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
        self.connection._sock.sendmsg([data], beside)
        for descriptor in set(descriptors):
            os.close(descriptor)

    def share(self, content: bytes = b"") -> None:
        """Behave well, until there is memory."""
        self.say_with(m.Memory(SIZE), memory_file(content=content))


def memory_file(size: int = SIZE, *, seals: bool = True, content: bytes = b"") -> int:
    descriptor = os.memfd_create("hostile", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, size)
    os.pwrite(descriptor, content, 0)
    if seals:
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    return descriptor


def shrinks_before(hostile: Hostile) -> None:
    descriptor = memory_file(seals=False)
    hostile.say_with(m.Memory(SIZE), os.dup(descriptor))
    os.ftruncate(descriptor, 0)
    os.close(descriptor)


def ordinary_file(hostile: Hostile) -> None:
    with tempfile.TemporaryFile() as file:
        file.truncate(SIZE)
        hostile.say_with(m.Memory(SIZE), os.dup(file.fileno()))


def a_socket(hostile: Hostile) -> None:
    near, far = socket.socketpair()
    far.close()
    hostile.say_with(m.Memory(SIZE), near.detach())


def twice(hostile: Hostile) -> None:
    hostile.share()
    hostile.share()


def one_after_the_other(hostile: Hostile) -> None:
    """Within one frame, whose reader has not come to look at the first."""
    for part in (b"\x05\x00", b"\x00\x00"):
        descriptor = memory_file()
        hostile.connection._sock.sendmsg(
            [part], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
        )
        os.close(descriptor)


def lends(*places: tuple[int, int], content: bytes = b"") -> Callable[[Hostile], None]:
    def attack(hostile: Hostile) -> None:
        hostile.share(content)
        hostile.say(*(m.Lend(start, size) for start, size in places))

    return attack


A_YIELD = wire_codec().encode(m.Yield(2, 5))  # type: ignore[arg-type]


def flood(hostile: Hostile) -> None:
    """Messages that are kept, one behind the other."""
    hostile.share(A_YIELD * 10_000)
    hostile.say(*(m.Lend(index * len(A_YIELD), len(A_YIELD)) for index in range(10_000)))


ATTACKS: dict[str, tuple[Callable[[Hostile], object], str]] = {
    "unsealed": (lambda h: h.say_with(m.Memory(SIZE), memory_file(seals=False)), "could shrink"),
    "shrinks": (shrinks_before, "could shrink"),
    "tiny": (lambda h: h.say_with(m.Memory(SIZE), memory_file(4096)), "4096 bytes that should have"),
    "larger than the limit": (
        lambda h: h.say_with(m.Memory(2 * SIZE), memory_file(2 * SIZE)),
        "the limit is 8388608",
    ),
    "of no size": (lambda h: h.say_with(m.Memory(0), memory_file(0)), "memory of 0 bytes"),
    "of negative size": (lambda h: h.say_with(m.Memory(-SIZE), memory_file()), "memory of -8388608 bytes"),
    "ordinary file": (ordinary_file, "ordinary file"),
    "a socket": (a_socket, "not of shared memory"),
    "no descriptor": (lambda h: h.say(m.Memory(SIZE)), "without a descriptor"),
    "one after the other": (one_after_the_other, "more than the one"),
    "many descriptors": (
        lambda h: h.say_with(m.Memory(SIZE), *(memory_file() for _ in range(100))),
        "more than the one",
    ),
    "memory twice": (twice, "not asked for"),
    "invites twice": (lambda h: h.say(m.Invite(), m.Invite()), "invited to lend twice"),
    "lends before": (lambda h: h.say(m.Lend(0, 10)), "never shared"),
    "gives back what it never had": (lambda h: h.say(m.Release([0])), "not lent"),
    "gives back what was not lent": (lambda h: h.say(m.Invite(), m.Release([4096])), "not lent"),
    "beyond the end": (lends((SIZE - 5, 6)), "a message of 6 bytes at"),
    "before the beginning": (lends((-6, 6)), "a message of 6 bytes at"),
    "of no bytes": (lends((0, 0)), "a message of 0 bytes"),
    "huge": (lends((0, 2**62)), "a message of"),
    "overlapping": (lends((0, 4), (3, 4), content=A_YIELD + A_YIELD), "still read"),
    "no message": (lends((0, 100)), "Expected"),
    "garbage": (lends((0, 100), content=b"\xc1" * 100), "malformed|not a message"),
    "lends inside what is lent": (lends((0, 3), content=b"\x93\x15\x05\x06"), "not a message|a lend inside"),
    "memory inside what is lent": (
        lends((0, 3), content=wire_codec().encode(m.Memory(5))),
        "a memory inside a lend",
    ),
    "flood": (flood, f"more than {SIZE // BYTES_PER_PLACE} messages lent"),
}


@pytest.mark.parametrize("kind", ATTACKS)
async def test_who_lies_loses_its_channel_and_leaves_nothing(kind: str) -> None:
    attack, reason = ATTACKS[kind]
    before = len(os.listdir("/proc/self/fd"))
    near, far = socket.socketpair()
    channel = on(near, LIMITS, there=LIMITS, dialled=True)
    hostile = Hostile(far)
    # A first large message, in pieces, which it is invited for.
    whole = wire_codec().encode(value(0, 200_000))
    hostile.say(m.Chunk(2, False, memoryview(whole)[:9], len(whole)), m.Chunk(2, True, memoryview(whole)[9:]))
    assert isinstance(await channel.recv(), m.Yield)
    assert [wire_codec().decode(each) for each in await hostile.connection.receive()] == [m.Invite()]
    attack(hostile)
    with pytest.raises(TransportClosed, match=reason) as caught:
        while True:
            await channel.recv()
    assert caught.value.src_exc is not None or "descriptor" in str(caught.value)
    assert channel.closed
    hostile.connection.abort()
    # The error shows where it was found, and what was read there.
    del caught, channel
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before
    assert mapped() == 0


class Hasty(UdsConnection):
    """Asks for memory in one breath with the end of the handshake, and then says what is no message."""

    _sent = 0

    def send_nowait(self, frames: Sequence[Buffer]) -> int:
        self._sent += 1
        if self._sent < 2:
            return super().send_nowait(frames)
        super().send_nowait([*frames, wire_codec().encode(m.Invite()), b"\xc1"])
        return len(frames)


class Pair:
    """A transport, and the plugins that have it: dials the other end of ``sock``."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def transport(self, _: str) -> Pair:
        return self

    async def connect(self, address: Address, options: TransportOptions) -> UdsConnection:
        return UdsConnection(self._sock, HERE, HERE, facts=FACTS, max_frame=options.handshake_frame)


async def test_who_lies_from_the_first_moment_on_leaves_nothing() -> None:
    key = "a key of the test's own"
    gc.collect()
    gc.disable()  # what would be left may be found by it later, or never
    try:
        before = len(os.listdir("/proc/self/fd"))
        near, far = socket.socketpair()
        hasty = Hasty(far, HERE, HERE, facts=FACTS, max_frame=MIB)
        me = Identity(m.Aid("hasty", "h" * 32), derive_key(key.encode(), "the test"), key_explicit=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept_handshake, hasty, me, LIMITS, OneTimeSecrets())
            with pytest.raises(TransportClosed, match="not a message"):
                pair: Any = Pair(near)
                await Channel.from_addr(HERE, auth_key=key, plugins=pair, limits=LIMITS)
        hasty.abort()
        assert mapped() == 0
        assert len(os.listdir("/proc/self/fd")) == before
    finally:
        gc.enable()


async def test_giving_back_twice_ends_the_channel() -> None:
    async with channels() as (one, other):
        await agreed(one, other)
        await sent(one, other, value(1))
        await other.send(m.Release([0]))
        await other.send(m.Release([0]))
        with pytest.raises(TransportClosed, match="not lent"):
            await one.recv()
