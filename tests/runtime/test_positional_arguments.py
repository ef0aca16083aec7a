"""Contexts and streams take positional arguments as plain calls do, whatever place the context has."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import positional_endpoints as endpoints
import pytest
import trio.testing

import tractor_core as tractor


@asynccontextmanager
async def worker() -> AsyncIterator[tractor.Portal]:
    async with tractor.open_nursery(registry_addrs=["mem://positions"], start_method="inproc") as nursery:
        yield await nursery.start_actor("worker", enable_modules=["positional_endpoints"])
        await nursery.cancel()


@pytest.mark.parametrize(
    ("function", "given", "got"),
    [
        (endpoints.context_first, [1], [1]),
        (endpoints.context_first, [1, 2, 3], [1, 2, 3]),
        (endpoints.context_between, [1], [1, 0]),
        (endpoints.context_between, [1, 2], [1, 2]),
        (endpoints.context_between, [1, 2, 3, 4], [1, 2, 3, 4]),
        (endpoints.context_last, [1], [1]),
        (endpoints.context_last, [1, 2, 3], [1, 2, 3]),
        (endpoints.context_by_place_only, [1], [1]),
        (endpoints.others_by_place_only, [1], [1, 0]),
        (endpoints.others_by_place_only, [1, 2], [1, 2]),
    ],
)
async def test_a_context_gets_its_arguments(
    function: Any, given: list[int], got: list[int], autojump_clock: trio.testing.MockClock
) -> None:
    async with worker() as portal, portal.open_context(function, *given) as (context, _):
        assert await context.wait_for_result() == got


async def test_names_go_with_positions(autojump_clock: trio.testing.MockClock) -> None:
    async with worker() as portal:
        async with portal.open_context(endpoints.context_between, 1, second=2) as (context, _):
            assert await context.wait_for_result() == [1, 2]
        async with portal.open_context(endpoints.context_by_place_only, first=1) as (context, _):
            assert await context.wait_for_result() == [1]


@pytest.mark.parametrize("function", [endpoints.numbers, endpoints.marked_numbers])
async def test_a_stream_gets_its_arguments(function: Any, autojump_clock: trio.testing.MockClock) -> None:
    async with worker() as portal, portal.open_stream_from(function, 1, 2, 3) as stream:
        assert [number async for number in stream] == [1, 2, 3]


async def test_the_rest_is_checked_by_its_annotation(autojump_clock: trio.testing.MockClock) -> None:
    async with worker() as portal:
        with pytest.raises(
            tractor.MsgTypeError, match=r"context_first\(\) argument '2' at \$\.2: expected `int`"
        ):
            async with portal.open_context(endpoints.context_first, 1, 2, "3"):  # type: ignore[arg-type]
                pass
        with pytest.raises(tractor.MsgTypeError, match="takes 1 positional arguments, more were given"):
            async with portal.open_context(endpoints.context_by_place_only, 1, 2):  # type: ignore[call-arg]
                pass
