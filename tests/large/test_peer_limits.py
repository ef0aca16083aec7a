"""Each side tells the other what it takes, so that nothing is sent which would be refused."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import budget_endpoints as endpoints
import msgspec
import pytest
import trio
import trio.testing

import tractor_core as tractor
from tractor_core import Limits
from tractor_core.errors import MsgTooLarge
from tractor_core.ipc.channel import Channel
from tractor_core.msg import types as m
from tractor_core.seams import Buffer

KIB = 1024
MIB = 1024 * KIB


@asynccontextmanager
async def raw_channel(name: str, *, here: Limits, there: Limits) -> AsyncIterator[tuple[Channel, Channel]]:
    """A raw channel with limits of its own, and the actor's end of it."""
    async with tractor.open_root_actor(
        registry_addrs=[f"mem://{name}"], enable_modules=[endpoints.__name__], limits=there
    ) as actor:
        async with await Channel.from_addr(f"mem://{name}", name="peer", limits=here) as channel:
            await trio.testing.wait_all_tasks_blocked()
            ((served,),) = actor.peers.values()
            yield channel, served


def start(channel: Channel, name: str, *args: object) -> m.Start:
    encode = channel.codec.encode_payload
    return m.Start(channel.new_cid(), f"{endpoints.__name__}:{name}", "asyncfunc", encode(args), encode({}))


async def test_both_know_what_the_other_takes(autojump_clock: trio.testing.MockClock) -> None:
    here, there = Limits(max_payload=3 * MIB, max_buffered=2 * MIB), Limits(max_frame=MIB)
    async with raw_channel("known", here=here, there=there) as (channel, served):
        # No memory is shared over this transport.
        assert channel.peer.bounds == m.Bounds(MIB, 1024 * MIB, 256 * MIB)
        assert served.peer.bounds == m.Bounds(16 * MIB, 3 * MIB, 2 * MIB)


async def test_a_request_over_the_peers_limit_is_not_sent(autojump_clock: trio.testing.MockClock) -> None:
    async with raw_channel("small", here=Limits(), there=Limits(max_payload=64 * KIB)) as (channel, _served):
        with pytest.raises(MsgTooLarge, match="root.*Limits.max_payload") as caught:
            await channel.send(start(channel, "length", b"x" * MIB))
        assert caught.value.limit == 64 * KIB
        assert caught.value.size > MIB
        await channel.send(start(channel, "length", b"x" * 60_000))
        answer = await channel.recv()
        assert isinstance(answer, m.Return)
        assert channel.codec.decode_payload(answer.pld) == 60_000


async def test_a_result_over_the_callers_limit_is_its_error(autojump_clock: trio.testing.MockClock) -> None:
    async with raw_channel("result", here=Limits(max_payload=64 * KIB), there=Limits()) as (channel, _served):
        await channel.send(start(channel, "make_bytes", MIB))
        answer = await channel.recv()
        assert isinstance(answer, m.Error)
        assert answer.error.type_name == "tractor_core.errors:MsgTooLarge"
        assert "peer" in answer.error.message
        assert "Limits.max_payload" in answer.error.message
        await channel.send(start(channel, "make_bytes", 60_000))
        assert isinstance(await channel.recv(), m.Return)


async def test_an_error_over_the_peers_limit_is_cut_down(autojump_clock: trio.testing.MockClock) -> None:
    async with raw_channel("error", here=Limits(max_payload=4 * KIB), there=Limits()) as (channel, _served):
        await channel.send(start(channel, "fail_at_length", 10_000))
        answer = await channel.recv()
        assert isinstance(answer, m.Error)
        assert answer.error.type_name == "builtins:ValueError"
        assert answer.error.message.startswith("longlong")
        assert "too large" in answer.error.notes[0]


async def test_frames_are_cut_to_what_the_peer_takes(autojump_clock: trio.testing.MockClock) -> None:
    """Such a frame limit is another implementation's: this one never says less than 128 KiB."""
    async with raw_channel("frames", here=Limits(), there=Limits()) as (channel, served):
        frames: list[bytes] = []
        peer = msgspec.structs.replace(served.peer, bounds=m.Bounds(8 * KIB))
        small = Channel(served.connection, peer, Limits(), dialled=False)
        small.connection = Recorder(frames)  # type: ignore[assignment]
        small.post(m.Yield(1, channel.codec.encode_payload(b"x" * 100_000)))
        await small._flush_all()
        assert len(frames) > 12
        assert max(map(len, frames)) <= 8 * KIB


async def test_large_messages_at_once_keep_to_the_peers_budget(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Four requests of 1 MiB, begun together, towards an actor that holds 300 KiB of unfinished ones."""
    there = Limits(max_buffered=300 * KIB)
    async with tractor.open_root_actor(
        registry_addrs=["mem://unfinished"], enable_modules=[endpoints.__name__], limits=there
    ):
        async with tractor.open_portal("mem://unfinished") as portal:
            lengths = []

            async def tell() -> None:
                lengths.append(await portal.run(endpoints.length, b"x" * MIB))

            async with trio.open_nursery() as tasks:
                for _ in range(4):
                    tasks.start_soon(tell)
            assert lengths == [MIB] * 4


class Recorder:
    """A connection that takes everything and keeps it."""

    pending = False

    def __init__(self, frames: list[bytes]) -> None:
        self._frames = frames

    def send_nowait(self, frames: Sequence[Buffer]) -> int:
        self._frames += map(bytes, frames)
        return len(frames)

    def abort(self) -> None:
        """Nothing to close."""
