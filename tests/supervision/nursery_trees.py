"""What the tests of this directory share: trees and what runs in them."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

import tractor_core as tractor

#: What happened, in order; in-process actors can share it with the test.
LOG: list[Any] = []


@pytest.fixture
def empty_log() -> None:
    LOG.clear()


@asynccontextmanager
async def nursery(**options: Any) -> AsyncIterator[tractor.ActorNursery]:
    options.setdefault("start_method", "inproc")
    async with tractor.open_nursery(registry_addrs=["mem://nursery"], **options) as an:
        yield an


# -- endpoints -------------------------------------------------------------------------------


async def name() -> str:
    return tractor.current_actor().name


async def wait(seconds: float = math.inf, *, result: Any = None) -> Any:
    try:
        await trio.sleep(seconds)
    finally:
        LOG.append(f"{tractor.current_actor().name} left")
    return result


async def fail(message: str, after: float = 0) -> None:
    await trio.sleep(after)
    raise ValueError(message)


async def slow_to_leave(seconds: float) -> None:
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(seconds)
        LOG.append("left slowly")


async def fail_when_cancelled(message: str) -> None:
    try:
        await trio.sleep_forever()
    finally:
        raise ValueError(message)


async def end_self() -> None:
    tractor.current_actor().cancel_soon()


async def nested_failure(depth: int) -> None:
    """Fail ``depth`` levels further down, by nurseries in endpoints."""
    if depth == 0:
        raise KeyError("deep down")
    async with tractor.open_nursery() as an:
        await an.run_in_actor(nested_failure, name=f"level{depth}", depth=depth - 1)


async def nested_wait() -> None:
    async with tractor.open_nursery() as an:
        for index in range(2):
            await an.run_in_actor(wait, name=f"grandchild{index}")


async def cancel_named(target: str) -> bool:
    async with tractor.find_actor(target) as portal:
        assert portal is not None
        return await portal.cancel_actor()


async def close_at_the_end() -> None:
    actor = tractor.current_actor()
    actor.lifetime_stack.callback(LOG.append, f"{actor.name} closed")


async def end_self_and_wait() -> None:
    tractor.current_actor().cancel_soon()
    await trio.sleep_forever()


#: The name under which actors expose these.
ENDPOINTS = __name__
