"""One stream for several tasks, and what is said when its receiver does not keep up."""

from __future__ import annotations

import logging

import msgspec
import pytest
import trio
import trio.testing

import tractor_core as tractor
from tractor_core.msg import types as m


@tractor.context
async def count_up(ctx: tractor.Context, upto: int) -> None:
    await ctx.started()
    async with ctx.open_stream() as stream:
        await stream.receive()
        for number in range(upto):
            await stream.send(number)


async def test_subscribers_that_keep_up_get_everything(autojump_clock: trio.testing.MockClock) -> None:
    received: dict[str, list[int]] = {"a": [], "b": []}

    async def subscribe(
        name: str, stream: tractor.MsgStream[str, int], *, task_status: trio.TaskStatus[None]
    ) -> None:
        async with stream.subscribe() as receiver:
            task_status.started()
            async for number in receiver:
                received[name].append(number)

    async with tractor.open_nursery(registry_addrs=["mem://subscribers"], start_method="inproc") as nursery:
        portal = await nursery.start_actor("counter", enable_modules=[__name__])
        async with portal.open_context(count_up, upto=1000) as (ctx, _):
            async with ctx.open_stream(overflow="block") as stream, trio.open_nursery() as tasks:
                await tasks.start(subscribe, "a", stream)
                await tasks.start(subscribe, "b", stream)
                await stream.send("go")
        await portal.cancel_actor()
    assert received == {"a": list(range(1000)), "b": list(range(1000))}


async def test_receive_nowait_works_beside_subscribers(autojump_clock: trio.testing.MockClock) -> None:
    async with tractor.open_nursery(registry_addrs=["mem://nowait"], start_method="inproc") as nursery:
        portal = await nursery.start_actor("counter", enable_modules=[__name__])
        async with portal.open_context(count_up, upto=3) as (ctx, _):
            async with ctx.open_stream(overflow="block") as stream, stream.subscribe() as receiver:
                with pytest.raises(trio.WouldBlock):
                    stream.receive_nowait()
                await stream.send("go")
                await trio.testing.wait_all_tasks_blocked()
                assert [stream.receive_nowait() for _ in range(3)] == [0, 1, 2]
                assert [receiver.receive_nowait() for _ in range(3)] == [0, 1, 2]
        await portal.cancel_actor()


async def test_an_overrun_is_reported_once(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with tractor.open_nursery(registry_addrs=["mem://overrun-once"], start_method="inproc") as nursery:
        portal = await nursery.start_actor("counter", enable_modules=[__name__])
        with caplog.at_level(logging.WARNING), pytest.raises(tractor.StreamOverrun):
            async with portal.open_context(count_up, upto=200) as (ctx, _):
                async with ctx.open_stream() as stream:
                    await stream.send("go")
                    await trio.sleep_forever()
        await portal.cancel_actor()
    assert caplog.records == []


async def test_who_waits_already_becomes_a_subscriber(autojump_clock: trio.testing.MockClock) -> None:
    received: dict[str, list[int]] = {"first": [], "iterating": [], "second": []}

    async def wait(stream: tractor.MsgStream[str, int], how: str) -> None:
        if how == "iterating":
            async for number in stream:
                received[how].append(number)
        else:
            with pytest.raises(trio.EndOfChannel):
                while True:
                    received[how].append(await stream.receive())

    async def subscribe(stream: tractor.MsgStream[str, int]) -> None:
        async with stream.subscribe() as receiver:
            received["second"].extend([number async for number in receiver])

    async with tractor.open_nursery(registry_addrs=["mem://late"], start_method="inproc") as nursery:
        portal = await nursery.start_actor("counter", enable_modules=[__name__])
        for how in ("first", "iterating"):
            received["second"].clear()
            async with portal.open_context(count_up, upto=100) as (ctx, _):
                async with ctx.open_stream(overflow="block") as stream, trio.open_nursery() as tasks:
                    tasks.start_soon(wait, stream, how)
                    await trio.testing.wait_all_tasks_blocked()
                    tasks.start_soon(subscribe, stream)
                    await trio.testing.wait_all_tasks_blocked()
                    await stream.send("go")
            assert received[how] == received["second"] == list(range(100))
        await portal.cancel_actor()


async def test_who_was_woken_as_another_subscribes_shares_the_value(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The value has arrived, and the one who waited has not had its turn yet."""
    received: list[int] = []

    async def receive(stream: tractor.MsgStream[str, int]) -> None:
        received.append(await stream.receive())

    async with tractor.open_nursery(registry_addrs=["mem://woken"], start_method="inproc") as nursery:
        portal = await nursery.start_actor("counter", enable_modules=[__name__])
        async with portal.open_context(count_up, upto=0) as (ctx, _):
            async with ctx.open_stream(overflow="block") as stream, trio.open_nursery() as tasks:
                tasks.start_soon(receive, stream)
                await trio.testing.wait_all_tasks_blocked()
                ctx.deliver(m.Yield(ctx.cid, msgspec.Raw(ctx.chan.codec.encode_payload(7))))
                async with stream.subscribe() as receiver:
                    assert await receiver.receive() == 7
                await stream.send("go")
        await portal.cancel_actor()
    assert received == [7]
