"""The pieces of work: what an actor, or a client, does with a portal. Each checks what it gets back.

Streams wait for whoever is slow (``overflow="block"``): being delayed is a fault that must harm nobody.

A wrong answer is an ``AssertionError``, which is not among the outcomes that are allowed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Final

import trio

import tractor_core as tractor

#: How many bytes a large value has for each unit of size: up to 4 MiB, so that it travels in chunks.
LARGE_UNIT: Final = 40_000

#: What a planned failure says.
PLANNED: Final = "as planned"


# -- what is called ------------------------------------------------------------------------------------


async def whoami() -> str:
    return tractor.current_actor().name


async def add(one: int, other: int) -> int:
    return one + other


async def fail(message: str) -> None:
    raise ValueError(message)


async def linger(seconds: float) -> None:
    await trio.sleep(seconds)


async def turned(value: bytes) -> bytes:
    return value[::-1]


async def numbers(stop: int) -> AsyncIterator[int]:
    for number in range(stop):
        yield number


@tractor.context
async def doubling(ctx: tractor.Context, first: int) -> str:
    """Answer every number of the stream with its double, until the other side closes it."""
    await ctx.started(first)
    async with ctx.open_stream(overflow="block") as stream:
        async for value in stream:
            await stream.send(value * 2)
    return "done"


@tractor.context
async def summing(ctx: tractor.Context, values: list[int]) -> int:
    await ctx.started(len(values))
    await trio.sleep(0.01)
    return sum(values)


# -- what calls it -------------------------------------------------------------------------------------


async def calls(portal: tractor.Portal, size: int) -> None:
    for number in range(size):
        assert await portal.run(add, number, size) == number + size


async def failing_calls(portal: tractor.Portal, size: int) -> None:
    for _ in range(1 + size // 10):
        try:
            await portal.run(fail, PLANNED)
        except tractor.RemoteActorError as error:
            if error.boxed_type is not ValueError:
                raise
            assert error.message == PLANNED
        else:
            raise AssertionError("a call that fails has returned")


async def given_up_calls(portal: tractor.Portal, size: int) -> None:
    """Leave calls before they return; nothing of them must be in the way of the next."""
    for _ in range(1 + size // 10):
        with trio.move_on_after(0.01):
            await portal.run(linger, 30.0)
    assert await portal.run(add, 1, 2) == 3


async def context(portal: tractor.Portal, size: int) -> None:
    async with portal.open_context(summing, values=list(range(size))) as (ctx, first):
        assert first == size
        await _expect_result(ctx, sum(range(size)))


async def _expect_result(ctx: tractor.Context, expected: object) -> None:
    result = await ctx.wait_for_result()
    # Returned, not raised, where this actor itself is ending the peer.
    assert result == expected or isinstance(result, tractor.ContextCancelled)


async def left_context(portal: tractor.Portal, size: int) -> None:
    """Cancel a context in the middle of its stream."""
    async with (
        portal.open_context(doubling, first=size) as (ctx, _),
        ctx.open_stream(overflow="block") as stream,
    ):
        await stream.send(size)
        assert await stream.receive() == 2 * size
        await ctx.cancel()


async def two_way_stream(portal: tractor.Portal, size: int) -> None:
    async with portal.open_context(doubling, first=size) as (ctx, first):
        assert first == size
        async with ctx.open_stream(overflow="block") as stream, trio.open_nursery() as tasks:
            tasks.start_soon(_send_numbers, stream, 4 * size)
            for number in range(4 * size):
                assert await stream.receive() == 2 * number
        await _expect_result(ctx, "done")


async def _send_numbers(stream: tractor.MsgStream, stop: int) -> None:
    for number in range(stop):
        await stream.send(number)


async def one_way_stream(portal: tractor.Portal, size: int) -> None:
    expected = 0
    async with portal.open_stream_from(numbers, stop=10 * size) as stream:
        async for number in stream:
            assert number == expected
            expected += 1
        # Behind the block it may be less: it absorbs the cancel of a peer that this actor itself is ending.
        assert expected == 10 * size


async def large_values(portal: tractor.Portal, size: int) -> None:
    value = bytes(range(250)) * (size * LARGE_UNIT // 250)
    assert await portal.run(turned, value) == value[::-1]


#: By their names in plans. The two that start children need no portal, and clients cannot do them.
WITH_PORTAL: Final[Mapping[str, Callable[[tractor.Portal, int], Awaitable[None]]]] = {
    work.__name__: work
    for work in (
        calls,
        failing_calls,
        given_up_calls,
        context,
        left_context,
        two_way_stream,
        one_way_stream,
        large_values,
    )
}
