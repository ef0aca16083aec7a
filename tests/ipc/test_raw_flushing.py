"""A channel read by hand over a path that is clogged: who writes what waits, and who must not wait for it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pytest
import trio
import trio.testing
from wire_fakes import FakeConnection

from tractor_core.errors import TransportClosed
from tractor_core.ipc import sending
from tractor_core.ipc.channel import Channel
from tractor_core.ipc.limits import Limits
from tractor_core.msg import types as m
from tractor_core.msg.codec import wire_codec
from tractor_core.protocol.handshake import Peer
from tractor_core.seams import Buffer, PeerFacts

CODEC = wire_codec()

pytestmark = pytest.mark.usefixtures("autojump_clock")


class Narrow(FakeConnection):
    """Takes one frame while it is clogged, as a socket that takes half of it; for one task at a time."""

    def __init__(self, name: str, facts: PeerFacts) -> None:
        super().__init__(name, facts)
        self._taken: list[bytes] = []
        self._busy = False

    def send_nowait(self, frames: Sequence[Buffer]) -> int:
        if self.pending:
            return 0
        if self.clogged:
            self._check_open()
            self._taken, self.pending = [bytes(frames[0])], True
            return 1
        return super().send_nowait(frames)

    async def flush(self) -> None:
        if self._busy:
            raise trio.BusyResourceError("another task is writing")
        self._busy = True
        try:
            await super().flush()
            if self.pending:
                self.pending = False
                super().send_nowait(self._taken)
        finally:
            self._busy = False

    def unclog(self) -> None:
        self.clogged = False
        self.wake()

    def hear(self, *messages: m.Message) -> None:
        """Let this end receive these messages as one batch."""
        self.deliver(*map(CODEC.encode, messages))

    def said(self) -> list[object]:
        """What this end has sent."""
        return [CODEC.decode(frame) for frame in self.sent]


def clogged(limits: Limits | None = None) -> tuple[Channel, Narrow]:
    """A channel to read by hand, and its clogged connection."""
    near, _ = Narrow.pair()
    assert isinstance(near, Narrow)
    near.clogged = True
    peer = Peer(aid=m.Aid("peer", "u"), role="tree", codec="msgpack", method="shared", facts=PeerFacts())
    channel = Channel(near, peer, limits or Limits(), dialled=True)
    channel._raw = True
    return channel, near


async def give_up_sending(channel: Channel, message: m.MsgType) -> None:
    with trio.move_on_after(1) as scope:
        await channel.send(message)
    assert scope.cancelled_caught


async def test_a_sender_waits_for_who_answers_a_ping() -> None:
    channel, near = clogged()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.recv)
        near.hear(m.Ping(1), m.Ping(2))
        await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(1):
            async with trio.open_nursery() as sender:
                sender.start_soon(channel.send, m.Ping(7))
                await trio.testing.wait_all_tasks_blocked()
                assert near.sent == []
                near.unclog()
        assert near.said() == [m.Pong(1), m.Pong(2), m.Ping(7)]
        nursery.cancel_scope.cancel()


async def test_a_sender_goes_on_where_the_reader_leaves_off() -> None:
    """The task in ``recv()`` writes; then it has what it came for."""
    channel, near = clogged()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.recv)
        near.hear(m.Ping(1), m.Ping(2))
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(channel.send, m.Ping(7))
        await trio.testing.wait_all_tasks_blocked()
        near.hear(m.StartAck(0, "asyncfunc"))
        await trio.testing.wait_all_tasks_blocked()
        assert not channel._receiving
        near.unclog()
    assert near.said() == [m.Pong(1), m.Pong(2), m.Ping(7)]


async def test_a_reader_that_is_cancelled_over_a_clogged_path_sees_just_that() -> None:
    channel, near = clogged()
    seen: list[BaseException] = []
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            async def read() -> None:
                try:
                    await channel.recv()
                except BaseException as error:
                    seen.append(error)
                    raise

            nursery.start_soon(read)
            near.hear(m.Ping(1))
            await trio.testing.wait_all_tasks_blocked()
            assert near.sent == []
            scope.cancel()
    assert [type(error) for error in seen] == [trio.Cancelled]


async def test_closing_waits_for_who_is_sending() -> None:
    channel, near = clogged()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.send, m.Ping(7))
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(channel.aclose)
        await trio.testing.wait_all_tasks_blocked()
        assert not near.closed
        near.unclog()
    assert near.said() == [m.Ping(7)] and near.closed


async def test_closing_goes_on_where_a_sender_gives_up() -> None:
    channel, near = clogged()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(give_up_sending, channel, m.Ping(7))
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(partial(channel.aclose, timeout=10))
        await trio.sleep(2)
        assert not near.closed
        near.unclog()
    assert near.said() == [m.Ping(7)] and near.closed


async def test_a_sender_whose_path_is_closed_meanwhile_is_told() -> None:
    """Also where another task was the one that wrote."""
    channel, near = clogged()
    async with trio.open_nursery() as nursery:

        async def receive() -> None:
            with pytest.raises(TransportClosed):
                await channel.recv()

        async def send() -> None:
            with pytest.raises(TransportClosed):
                await channel.send(m.Ping(7))

        nursery.start_soon(receive)
        near.hear(m.Ping(1), m.Ping(2))
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        await channel.aclose(0.1)
    assert near.sent == []


async def test_an_answer_that_met_a_full_path_goes_out_while_the_reader_waits() -> None:
    channel, near = clogged()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.recv)
        near.hear(m.Ping(1))
        await trio.testing.wait_all_tasks_blocked()
        assert near.pending
        near.unclog()
        await trio.testing.wait_all_tasks_blocked()
        assert near.said() == [m.Pong(1)]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("reader_first", [True, False])
async def test_what_a_cancelled_send_left_goes_out_while_the_reader_waits(reader_first: bool) -> None:
    channel, near = clogged()
    async with trio.open_nursery() as nursery:
        if reader_first:
            nursery.start_soon(channel.recv)
            await trio.testing.wait_all_tasks_blocked()
        await give_up_sending(channel, m.Ping(7))
        if not reader_first:
            nursery.start_soon(channel.recv)
        await trio.testing.wait_all_tasks_blocked()
        near.unclog()
        await trio.testing.wait_all_tasks_blocked()
        assert near.said() == [m.Ping(7)]
        nursery.cancel_scope.cancel()


async def test_what_is_posted_goes_out_while_the_reader_waits() -> None:
    channel, near = clogged()
    near.unclog()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.recv)
        await trio.testing.wait_all_tasks_blocked()
        channel.post(m.Ping(7), lazy=True)
        await trio.testing.wait_all_tasks_blocked()
        assert near.said() == [m.Ping(7)]
        nursery.cancel_scope.cancel()


async def test_a_clogged_path_withholds_no_message() -> None:
    channel, near = clogged()
    near.hear(m.Ping(1), m.Ping(2), m.StartAck(0, "asyncfunc"))
    with trio.fail_after(1):
        assert await channel.recv() == m.StartAck(0, "asyncfunc")
    near.hear(m.StartAck(2, "asyncfunc"))
    with trio.fail_after(1):
        assert await channel.recv() == m.StartAck(2, "asyncfunc")
    near.unclog()
    await channel.aclose()
    assert near.said() == [m.Pong(1), m.Pong(2)]


async def test_an_answer_goes_out_before_the_reader_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where frames share writes, the last of them waits for nobody."""
    monkeypatch.setattr(sending, "perf_counter", lambda: 0.0)
    channel, near = clogged()
    near.unclog()
    near.hear(m.Ping(1), m.Ping(2), m.StartAck(0, "asyncfunc"))
    assert await channel.recv() == m.StartAck(0, "asyncfunc")
    assert near.said() == [m.Pong(1), m.Pong(2)]


async def test_a_message_that_came_with_the_cancellation_is_kept() -> None:
    channel, near = clogged()
    received = []

    async def receive() -> None:
        received.append(await channel.recv())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        near.hear(m.StartAck(0, "asyncfunc"))
        nursery.cancel_scope.cancel()
    if not received:
        await receive()
    assert received == [m.StartAck(0, "asyncfunc")]


async def test_a_message_before_one_that_cannot_be_read_is_delivered() -> None:
    channel, near = clogged()
    near.deliver(CODEC.encode(m.StartAck(0, "asyncfunc")), b"\xc1")
    assert await channel.recv() == m.StartAck(0, "asyncfunc")
    with pytest.raises(TransportClosed, match="not a message"):
        await channel.recv()


async def test_who_only_asks_is_cut_off() -> None:
    channel, near = clogged(Limits(max_buffered=64 * 1024))
    for _ in range(20):
        near.hear(*[m.Ping(1)] * 100)
    with pytest.raises(TransportClosed, match="takes no answers"):
        await channel.recv()
    assert near.closed
