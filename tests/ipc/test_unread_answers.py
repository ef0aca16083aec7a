"""A peer that asks and never reads costs this side no more than ``Limits.max_buffered`` allows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
import trio.testing

import tractor_core as tractor
from tractor_core import Limits
from tractor_core.msg import types as m

BUFFERED = 256 * 1024


async def make_bytes(size: int) -> bytes:
    return b"x" * size


def ping(channel: tractor.Channel) -> m.MsgType:
    return m.Ping(1)


def start(channel: tractor.Channel, target: str, *args: object) -> m.Start:
    codec = channel.codec
    return m.Start(
        channel.new_cid(), target, "asyncfunc", codec.encode_payload(args), codec.encode_payload({})
    )


def unknown(channel: tractor.Channel) -> m.MsgType:
    return start(channel, "no_such_module:function")


@pytest.mark.parametrize("request_of", [ping, unknown])
async def test_who_takes_no_answers_is_cut_off(
    autojump_clock: trio.testing.MockClock,
    request_of: Callable[[tractor.Channel], m.MsgType],
) -> None:
    limits = Limits(max_buffered=BUFFERED)
    async with tractor.open_root_actor(
        registry_addrs=["mem://hoarder"], enable_modules=[__name__], limits=limits
    ) as actor:
        bad = await tractor.Channel.from_addr("mem://hoarder", name="hoarder")
        await trio.testing.wait_all_tasks_blocked()
        ((served,),) = actor.peers.values()
        most = 0
        with pytest.raises(tractor.TransportClosed):
            for _ in range(200_000):
                await bad.send(request_of(bad))
                most = max(most, served.backlog)
        assert most < 4 * BUFFERED
        reason = await served.wait_closed()
        assert "takes no answers" in str(reason)
        await bad.aclose()
        # Nobody else is any worse off.
        async with tractor.open_portal("mem://hoarder") as portal:
            assert await portal.run(make_bytes, 10) == b"x" * 10


async def test_results_that_are_not_taken_wait_in_their_dialogs(
    autojump_clock: trio.testing.MockClock,
) -> None:
    limits = Limits(max_buffered=BUFFERED, max_dialogs=100)
    async with tractor.open_root_actor(
        registry_addrs=["mem://results"], enable_modules=[__name__], limits=limits
    ) as actor:
        bad = await tractor.Channel.from_addr("mem://results", name="hoarder")
        await trio.testing.wait_all_tasks_blocked()
        ((served,),) = actor.peers.values()
        most = 0
        with pytest.raises(tractor.TransportClosed):
            for _ in range(200_000):
                await bad.send(start(bad, f"{__name__}:make_bytes", 50_000))
                most = max(most, served.backlog)
        assert most < 4 * BUFFERED
        assert "takes no answers" in str(await served.wait_closed())
        await bad.aclose()


async def test_a_peer_that_reads_is_served_however_much_it_asks(
    autojump_clock: trio.testing.MockClock,
) -> None:
    limits = Limits(max_buffered=BUFFERED)
    async with tractor.open_root_actor(
        registry_addrs=["mem://reader"], enable_modules=[__name__], limits=limits
    ):
        async with tractor.open_portal("mem://reader") as portal:

            async def ask() -> None:
                for _ in range(20):
                    assert len(await portal.run(make_bytes, 50_000)) == 50_000

            async with trio.open_nursery() as nursery:
                for _ in range(4):
                    nursery.start_soon(ask)
