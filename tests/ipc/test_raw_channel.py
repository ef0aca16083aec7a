"""A channel without a runtime: messages by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

import tractor_core as tractor
from tractor_core.errors import TransportClosed
from tractor_core.msg import types as m


async def length(value: bytes) -> int:
    return len(value)


@asynccontextmanager
async def root(url: str) -> AsyncIterator[tractor.Actor]:
    async with tractor.open_root_actor(registry_addrs=[url], enable_modules=[__name__]) as actor:
        yield actor


async def start(channel: tractor.Channel, value: bytes) -> int:
    codec = channel.codec
    cid = channel.new_cid()
    arguments, empty = codec.encode_payload([value]), codec.encode_payload({})
    await channel.send(m.Start(cid, f"{__name__}:length", "asyncfunc", arguments, empty))
    return cid


async def exchange(url: str) -> None:
    async with root(url) as actor:
        async with await tractor.Channel.from_addr(url, name="by-hand") as channel:
            assert channel.aid == actor.aid
            with pytest.warns(DeprecationWarning, match="aid.uid"):
                assert channel.uid == actor.uid
            assert channel.connected() and not channel.closed
            assert channel.raddr.url == url
            for size in (3, 3_000_000):
                cid = await start(channel, bytes(size))
                answer = await channel.recv()
                assert isinstance(answer, m.Return) and answer.cid == cid
                assert channel.codec.decode_payload(answer.pld) == size
            with pytest.raises(TypeError, match="value"):
                await channel.send(m.Yield(0, print))
        assert not channel.connected()
        with pytest.raises(TransportClosed):
            await channel.send(m.Ping(1))
        with pytest.raises(TransportClosed):
            await channel.recv()


async def test_in_memory(autojump_clock: trio.testing.MockClock) -> None:
    await exchange("mem://raw")


async def test_over_sockets(registry: str) -> None:
    await exchange(registry)


async def test_iteration_ends_with_the_peer(autojump_clock: trio.testing.MockClock) -> None:
    received: list[m.MsgType] = []

    async def iterate(channel: tractor.Channel) -> None:
        received.extend([message async for message in channel])

    async with trio.open_nursery() as nursery:
        async with root("mem://ending"):
            channel = await tractor.Channel.from_addr("mem://ending")
            nursery.start_soon(iterate, channel)
            await channel.send(m.Ping(1))
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await channel.recv()
    assert [type(message) for message in received] == [m.Pong]
    assert "closed" in repr(channel)


async def test_a_break_is_not_an_end(autojump_clock: trio.testing.MockClock) -> None:
    async with root("mem://break"):
        channel = await tractor.Channel.from_addr("mem://break")
        channel.connection.cut()
        with pytest.raises(TransportClosed):
            async for _ in channel:
                raise AssertionError("nothing was sent")


async def test_a_channel_that_the_runtime_reads(autojump_clock: trio.testing.MockClock) -> None:
    async with root("mem://read"):
        async with tractor.open_portal("mem://read") as portal:
            with pytest.raises(RuntimeError, match="the runtime reads"):
                await portal.chan.recv()
            await portal.chan.send(m.Ping(1))
            assert await portal.run(length, b"123") == 3


async def test_strangers_are_told_so(autojump_clock: trio.testing.MockClock) -> None:
    async with root("mem://stranger"):
        with pytest.raises(tractor.errors.AuthenticationFailed):
            await tractor.Channel.from_addr("mem://stranger", auth_key="another key than the cookie")
        with pytest.raises(OSError):
            await tractor.Channel.from_addr("mem://nobody")
