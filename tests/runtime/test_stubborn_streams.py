"""Tasks that go on trying where a stream has failed for good: the rest of their actor works on."""

from __future__ import annotations

import pytest
import trio
import trio.testing

import tractor_core as tractor

#: How often each has tried again.
tries: dict[str, int] = {}


async def hello() -> str:
    return "hello"


@tractor.context
async def echo(ctx: tractor.Context) -> None:
    await ctx.started()
    async with ctx.open_stream() as stream:
        async for value in stream:
            await stream.send(value)


@tractor.context(pld_spec=int)
async def stubborn(ctx: tractor.Context) -> None:
    """Takes a value of the wrong type for something that passes."""
    await ctx.started(0)
    async with ctx.open_stream() as stream:
        while True:
            try:
                await stream.receive()
            except tractor.MsgTypeError:
                tries["receive"] += 1


async def test_a_receiver_that_ignores_its_error(autojump_clock: trio.testing.MockClock) -> None:
    tries["receive"] = 0
    async with tractor.open_nursery(registry_addrs=["mem://stubborn"], start_method="inproc") as nursery:
        portal = await nursery.start_actor("worker", enable_modules=[__name__])
        with pytest.raises(tractor.MsgTypeError):
            async with portal.open_context(stubborn) as (context, _):
                async with context.open_stream() as stream:
                    await stream.send("no number")
                    while tries["receive"] < 50:
                        await trio.lowlevel.checkpoint()
                    assert await portal.run(hello) == "hello"
                    await context.cancel()
        await nursery.cancel()


async def test_a_sender_that_ignores_its_error(autojump_clock: trio.testing.MockClock) -> None:
    tries["send"] = 0
    async with tractor.open_nursery(registry_addrs=["mem://stubborn"], start_method="inproc") as nursery:
        portal = await nursery.start_actor("worker", enable_modules=[__name__])
        async with portal.open_context(echo) as (context, _):
            async with context.open_stream() as stream:
                pass

            async def send_on() -> None:
                while True:
                    try:
                        await stream.send(1)
                    except trio.ClosedResourceError:
                        tries["send"] += 1

            async with trio.open_nursery() as tasks:
                tasks.start_soon(send_on)
                while tries["send"] < 50:
                    await trio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
        await nursery.cancel()
