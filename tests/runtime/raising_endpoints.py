"""Endpoints whose own code raises what runtimes say too, or fails at another actor."""

from __future__ import annotations

import trio

import tractor_core as tractor
from tractor_core import errors
from tractor_core.msg import limit_plds


async def raises(kind: str, root: tuple[str, str]) -> None:
    """Raise an error of this package by hand."""
    if kind == "ContextCancelled":
        # The opener would absorb it, were it the runtime's word.
        raise tractor.ContextCancelled("by hand", canceller=root)
    raise getattr(errors, kind)("by hand")


@tractor.context
async def raises_within(ctx: tractor.Context, kind: str, root: tuple[str, str]) -> None:
    await ctx.started()
    await raises(kind, root)


async def number() -> int:
    return 1


async def wrong_result() -> int:
    return "one"  # type: ignore[return-value]


async def waits() -> None:
    await trio.sleep_forever()


@tractor.context(pld_spec=int)
async def sends_text(ctx: tractor.Context) -> int:
    await ctx.started(1)
    async with ctx.open_stream() as stream:
        await stream.send("text")
        await stream.receive()
    return 1


@tractor.context(pld_spec=int)
async def starts_with_text(ctx: tractor.Context) -> int:
    await ctx.started("text")
    return 1


@tractor.context(pld_spec=int)
async def insists(ctx: tractor.Context) -> int:
    """Fail by the second value that is none, having handled the first."""
    await ctx.started(1)
    async with ctx.open_stream() as stream:
        while True:
            try:
                await stream.receive()
            except tractor.MsgTypeError:
                await stream.receive()
    return 1


async def is_refused(address: str) -> None:
    """Be refused as a peer of another actor's."""
    async with tractor.open_portal(address, auth_key=b"not the key of this tree, by far"):
        pass


async def expects_text(address: str) -> None:
    """Find another actor's result to be of the wrong type."""
    async with tractor.open_portal(address) as portal:
        with limit_plds(str):
            await portal.run(number)


async def reads_text(address: str) -> None:
    """Find a value of another actor's stream to be of the wrong type."""
    async with tractor.open_portal(address) as portal:
        async with portal.open_context(sends_text) as (context, _):
            async with context.open_stream() as stream:
                await stream.receive()
