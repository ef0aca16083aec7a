"""``started()`` that had to wait for room, and what happened to its context meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio
import trio.testing

import tractor_core as tractor
from tractor_core.msg import types as m

pytestmark = pytest.mark.usefixtures("autojump_clock")

#: What the tasks of the callee got from ``started()``.
Outcomes = list[str]


@contextmanager
def without_room(channel: tractor.Channel) -> Iterator[None]:
    """Nothing may be added to what waits on ``channel`` during the block."""
    lot = trio.lowlevel.ParkingLot()

    async def room(cid: int, size: int = 0) -> None:
        await lot.park()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(channel, "clogged", lambda cid, size=0: True)
        patch.setattr(channel, "room", room)
        yield
    lot.unpark_all()


async def start(ctx: tractor.Context, outcomes: Outcomes) -> None:
    try:
        await ctx.started("first value")
        outcomes.append("started")
    except Exception as error:
        outcomes.append(f"{type(error).__name__}: {error}")


@tractor.context
async def start_twice(ctx: tractor.Context) -> Outcomes:
    outcomes: Outcomes = []
    async with trio.open_nursery() as nursery:
        with without_room(ctx.chan):
            nursery.start_soon(start, ctx, outcomes)
            nursery.start_soon(start, ctx, outcomes)
            await trio.testing.wait_all_tasks_blocked()
    return sorted(outcomes)


#: What became of the callee whose path was cut.
OUTCOMES: Outcomes = []


@tractor.context
async def start_and_be_cut(ctx: tractor.Context) -> None:
    with trio.CancelScope(shield=True):
        async with trio.open_nursery() as nursery:
            with without_room(ctx.chan):
                nursery.start_soon(start, ctx, OUTCOMES)
                await trio.testing.wait_all_tasks_blocked()
                ctx.chan.abort()
                await ctx.chan.wait_closed()


async def test_of_two_tasks_that_start_one_is_refused() -> None:
    async with tractor.open_nursery(registry_addrs=["mem://twice"], start_method="inproc") as nursery:
        portal = await nursery.start_actor("callee", enable_modules=[__name__])
        async with portal.open_context(start_twice) as (ctx, first):
            assert first == "first value"
            outcomes = await ctx.wait_for_result()
        await portal.cancel_actor()
    assert outcomes == ["RuntimeError: started() was already called on this context", "started"]


async def test_who_was_cut_off_meanwhile_learns_why() -> None:
    OUTCOMES.clear()
    async with tractor.open_root_actor(registry_addrs=["mem://cut"], enable_modules=[__name__]):
        async with await tractor.Channel.from_addr("mem://cut") as opener:
            arguments, keywords = opener.codec.encode_payload([]), opener.codec.encode_payload({})
            target = f"{__name__}:start_and_be_cut"
            await opener.send(m.Start(opener.new_cid(), target, "context", arguments, keywords))
            assert [type(message) async for message in opener] == [m.StartAck]
        await trio.testing.wait_all_tasks_blocked()
    (outcome,) = OUTCOMES
    assert outcome.startswith("TransportClosed: ")
