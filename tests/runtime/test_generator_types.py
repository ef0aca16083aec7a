"""Generators with annotated items: the items are decoded, the end carries nothing."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass

import pytest
import trio.testing

import tractor_core as tractor


@dataclass
class Point:
    x: int
    y: int


async def points(count: int) -> AsyncIterator[Point]:
    for number in range(count):
        yield Point(number, -number)


async def numbers(count: int) -> AsyncGenerator[int, None]:
    for number in range(count):
        yield number


async def wrong_numbers() -> AsyncIterator[int]:
    yield 1
    yield "two"  # type: ignore[misc]


async def test_items_arrive_typed_and_the_end_is_quiet(autojump_clock: trio.testing.MockClock) -> None:
    async with tractor.open_nursery(
        registry_addrs=["mem://generator-types"], start_method="inproc"
    ) as nursery:
        portal = await nursery.start_actor("source", enable_modules=[__name__])
        async with portal.open_stream_from(points, count=3) as stream:
            assert [point async for point in stream] == [Point(0, 0), Point(1, -1), Point(2, -2)]
        async with portal.open_stream_from(numbers, count=2) as stream:
            assert [number async for number in stream] == [0, 1]
        await portal.cancel_actor()


async def test_a_wrong_item_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    async with tractor.open_nursery(registry_addrs=["mem://wrong-items"], start_method="inproc") as nursery:
        portal = await nursery.start_actor("source", enable_modules=[__name__])
        with pytest.raises(tractor.MsgTypeError, match="expected `int`, got `str`"):
            async with portal.open_stream_from(wrong_numbers) as stream:
                assert [number async for number in stream] == [1]
        await portal.cancel_actor()
