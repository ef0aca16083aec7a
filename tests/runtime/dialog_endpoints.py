"""What the tests of dialogs run in other actors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Any

import trio

import tractor_core as tractor
from tractor_core.msg import mk_codec
from tractor_core.msg.codec import apply_codec

notes: list[str] = []

flavour: ContextVar[str] = ContextVar("flavour", default="plain")


class Celsius:
    """A type of the user's that the codec does not know."""

    def __init__(self, degrees: float) -> None:
        self.degrees = degrees


def encode(value: Any) -> Any:
    if isinstance(value, Celsius):
        return value.degrees
    raise NotImplementedError(f"cannot encode {type(value)}")


def decode(kind: type, value: Any) -> Any:
    return Celsius(value)


celsius_codec = mk_codec(enc_hook=encode, dec_hook=decode, ext_types=[Celsius])


async def wait_for_ever() -> None:
    notes.append("waiting")
    try:
        await trio.sleep_forever()
    except trio.Cancelled:
        notes.append("cancelled")
        raise


@tractor.context
async def waits_in_stream(ctx: tractor.Context) -> None:
    await ctx.started()
    notes.append("waiting")
    try:
        async with ctx.open_stream() as stream:
            await stream.receive()
    except tractor.TransportClosed:
        notes.append("closed")
        raise
    except trio.Cancelled:
        notes.append("cancelled")
        raise


async def endless() -> AsyncIterator[int]:
    try:
        while True:
            yield 1
    finally:
        notes.append("generator closed")


async def add(x: int, y: int) -> int:
    return x + y


async def fail() -> None:
    raise ValueError("on purpose")


async def fails_when_cancelled() -> None:
    try:
        await trio.sleep_forever()
    finally:
        raise ValueError("in clean-up")


async def interrupt() -> None:
    raise KeyboardInterrupt


async def sees_flavour() -> str:
    return flavour.get()


async def sees_context() -> bool:
    return tractor.current_ipc_ctx() is not None


async def take_any(value: Any) -> Any:
    return value


@tractor.context
async def dials_with_flavour(ctx: tractor.Context, address: str) -> None:
    """Dials from within a context, whose variables are nobody else's business."""
    flavour.set("spiced")
    async with tractor.open_portal(address) as portal:
        # That actor calls back over this very channel.
        await ctx.started(await portal.run(call_back, tractor.current_actor().aid.uuid))


async def call_back(uuid: str) -> list[Any]:
    actor = tractor.current_actor()
    channel = actor.peers[uuid][-1]
    portal = tractor.Portal(actor, channel)
    return [await portal.run(sees_flavour), await portal.run(sees_context)]


@tractor.context
async def warms(ctx: tractor.Context) -> None:
    """Uses a codec of its own for what it sends and receives."""
    with apply_codec(celsius_codec):
        await ctx.started(Celsius(1.0))
        async with ctx.open_stream() as stream:
            async for value in stream:
                await stream.send(Celsius(value.degrees + 1))


@tractor.context
async def swallows_overrun(ctx: tractor.Context) -> str:
    await ctx.started()
    async with ctx.open_stream() as stream:
        try:
            for number in range(1000):
                await stream.send(number)
        except tractor.StreamOverrun:
            notes.append("swallowed")
        try:
            await stream.send(-1)
        except tractor.StreamOverrun:
            notes.append("again")
    return "as if nothing had been"


@tractor.context
async def handles_own_error(ctx: tractor.Context) -> str:
    """An error leaves the stream's block and is handled: an end like others, if a little later."""
    await ctx.started()
    try:
        async with ctx.open_stream():
            raise KeyError("handled")
    except KeyError:
        pass
    await trio.sleep_forever()
    return "never"


@tractor.context
async def contracted(ctx: tractor.Context) -> int:
    await ctx.started(0)
    async with ctx.open_stream() as stream:
        return len([value async for value in stream])


async def interrupts_other(address: str) -> None:
    async with tractor.open_portal(address) as portal:
        await portal.run(interrupt)


async def calls_add(address: str) -> int:
    """Have another actor add; what refuses that comes back as this one's error."""
    async with tractor.open_portal(address) as portal:
        return await portal.run(add, 1, 2)


async def opens_there(address: str) -> None:
    async with tractor.open_portal(address) as portal:
        async with portal.open_context(contracted) as (context, _):
            async with context.open_stream() as stream:
                await stream.send(1)


@tractor.context
async def parity(ctx: tractor.Context) -> str:
    """Tuples arrive as lists: strict parity refuses them, and can be satisfied afterwards."""
    try:
        await ctx.started((1, 2), strict_pld_parity=True)
    except tractor.MsgTypeError as error:
        said = str(error.message)
        await ctx.started([1, 2], strict_pld_parity=True)
        return said
    return "no error"
