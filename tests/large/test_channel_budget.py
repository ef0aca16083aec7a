"""``Limits.max_buffered``: what one channel can be made to hold, and who hears of it."""

from __future__ import annotations

import budget_endpoints as endpoints
import pytest
import trio
import trio.testing

import tractor_core as tractor
from tractor_core import Limits
from tractor_core.msg import types as m

MIB = 1024 * 1024
BUDGET = 4 * MIB
LARGEST = 2 * MIB
LIMITS = Limits(max_buffered=BUDGET, max_payload=LARGEST)


async def open_worker(nursery: tractor.ActorNursery) -> tractor.Portal:
    return await nursery.start_actor("worker", enable_modules=[endpoints.__name__])


@pytest.mark.parametrize("endpoint", [endpoints.never_reads, endpoints.never_opens])
async def test_honest_streams_that_nobody_reads_end_one_by_one(
    autojump_clock: trio.testing.MockClock, endpoint: object
) -> None:
    """Many streams, each within its window: those that find no room end, the others and calls go on."""
    refused = []
    async with tractor.open_nursery(
        registry_addrs=["mem://budget"], start_method="inproc", limits=LIMITS
    ) as nursery:
        portal = await open_worker(nursery)

        async def fill(task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
            try:
                async with portal.open_context(endpoint) as (ctx, _):  # type: ignore[call-overload]
                    async with ctx.open_stream() as stream:
                        task_status.started()
                        while True:
                            await stream.send(b"x" * 20_000)
            except tractor.StreamOverrun as error:
                refused.append(error)

        async with trio.open_nursery() as tasks:
            for _ in range(8):
                await tasks.start(fill)
            await trio.sleep(10)
            # Those that found room go on waiting for it to be read; nobody else is disturbed.
            assert len(refused) < 8
            assert await portal.run(endpoints.add, 1, 2) == 3
            async with portal.open_context(endpoints.echo) as (ctx, _), ctx.open_stream() as stream:
                await stream.send(b"small")
                assert await stream.receive() == b"small"
            if endpoint is endpoints.never_opens:
                # The window before ``Open`` is the protocol's, the budget is this actor's.
                assert refused
            assert all("Limits.max_buffered" in str(error) for error in refused)
            tasks.cancel_scope.cancel()
        await nursery.cancel()


async def test_what_a_raw_peer_pushes_into_many_streams_is_bounded(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with tractor.open_root_actor(
        registry_addrs=["mem://pushed"], enable_modules=[endpoints.__name__], limits=LIMITS
    ) as actor:
        bad = await tractor.Channel.from_addr("mem://pushed", name="pusher")
        await trio.testing.wait_all_tasks_blocked()
        ((served,),) = actor.peers.values()
        value = bad.codec.encode_payload(b"x" * (MIB // 2))
        empty, none = bad.codec.encode_payload([]), bad.codec.encode_payload({})
        target = f"{endpoints.__name__}:never_opens"
        refused = 0
        for _ in range(100):
            cid = bad.new_cid()
            await bad.send(m.Start(cid, target, "context", empty, none))
            assert isinstance(await bad.recv(), m.StartAck)
            assert isinstance(await bad.recv(), m.Started)
            for _ in range(4):
                await bad.send(m.Yield(cid, value))
            await trio.testing.wait_all_tasks_blocked()
            assert served.account.held <= BUDGET
            if cid not in served.dialogs:
                error = await bad.recv()
                assert isinstance(error, m.Error)
                assert error.error.kind == "overrun"
                assert "Limits.max_buffered" in error.error.message
                refused += 1
        assert refused > 90
        # The channel goes on, for small things.
        await bad.send(m.Start(bad.new_cid(), f"{endpoints.__name__}:add", "asyncfunc",
                               bad.codec.encode_payload([1, 2]), none))  # fmt: skip
        assert isinstance(await bad.recv(), m.Return)
        await bad.aclose()
        await served.wait_closed()
        await trio.testing.wait_all_tasks_blocked()
        assert served.account.held == 0


async def test_the_opener_is_protected_from_its_callees(autojump_clock: trio.testing.MockClock) -> None:
    """The same the other way: endpoints that stream into blocks which never read."""
    async with tractor.open_nursery(
        registry_addrs=["mem://callee"], start_method="inproc", limits=LIMITS
    ) as nursery:
        portal = await open_worker(nursery)
        outcomes = []

        async def ignore() -> None:
            try:
                async with portal.open_context(endpoints.sends, size=20_000):
                    await trio.sleep(20)
                outcomes.append(None)
            except tractor.StreamOverrun as error:
                outcomes.append(error)

        with trio.move_on_after(5):
            async with trio.open_nursery() as tasks:
                for _ in range(6):
                    tasks.start_soon(ignore)
                await trio.sleep(4)
                assert portal.chan.account.held <= BUDGET
                assert outcomes
                assert all("Limits.max_buffered" in str(error) for error in outcomes)
                assert len(outcomes) < 6
        assert await portal.run(endpoints.add, 1, 2) == 3
        assert portal.chan.account.held == 0
        assert portal.chan.account.outside is None
        await nursery.cancel()


async def test_large_results_wait_in_their_tasks(autojump_clock: trio.testing.MockClock) -> None:
    """A peer that asks for large results and reads none: what is encoded for it stays bounded."""
    async with tractor.open_root_actor(
        registry_addrs=["mem://withheld"], enable_modules=[endpoints.__name__], limits=LIMITS
    ) as actor:
        bad = await tractor.Channel.from_addr("mem://withheld", name="hoarder")
        await trio.testing.wait_all_tasks_blocked()
        ((served,),) = actor.peers.values()
        args, none = bad.codec.encode_payload([LARGEST // 2]), bad.codec.encode_payload({})
        started = []
        for _ in range(100):
            started.append(bad.new_cid())
            await bad.send(m.Start(started[-1], f"{endpoints.__name__}:make_bytes", "asyncfunc", args, none))
            await trio.testing.wait_all_tasks_blocked()
            assert served._laned <= BUDGET + LARGEST
            assert served.withheld <= BUDGET + 2 * LARGEST
        assert served.withheld > BUDGET
        # It begins to read: every result that was taken on comes, and the others were refused by name.
        results, refusals = 0, 0
        while results + refusals < len(started):
            message = await bad.recv()
            if isinstance(message, m.Return):
                results += 1
            else:
                assert isinstance(message, m.Error)
                assert "Limits.max_buffered" in message.error.message
                refusals += 1
        assert results >= 8
        assert refusals > 50
        assert served.withheld == served._laned == 0
        await bad.aclose()


async def test_honest_callers_get_any_number_of_large_results(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with tractor.open_nursery(
        registry_addrs=["mem://honest"], start_method="inproc", limits=LIMITS
    ) as nursery:
        portal = await open_worker(nursery)
        sizes = []

        async def ask() -> None:
            for _ in range(5):
                sizes.append(len(await portal.run(endpoints.make_bytes, MIB)))

        async def tell() -> None:
            for _ in range(5):
                sizes.append(await portal.run(endpoints.length, b"x" * MIB))

        async with trio.open_nursery() as tasks:
            for _ in range(8):
                tasks.start_soon(ask)
                tasks.start_soon(tell)
        assert sizes == [MIB] * 80
        await nursery.cancel()


async def test_a_large_request_that_is_cancelled_while_it_waits_was_not_sent(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """An actor that does not read for a while: requests wait at the caller, and leave no trace there."""
    async with tractor.open_nursery(
        registry_addrs=["mem://waits"], start_method="inproc", limits=LIMITS
    ) as nursery:
        portal = await open_worker(nursery)
        channel = portal.chan
        # What it looks like while a peer does not read.
        channel._laned += BUDGET + 1
        dialogs = len(channel.dialogs)
        with trio.move_on_after(1) as scope:
            await portal.run(endpoints.length, b"x" * MIB)
        assert scope.cancelled_caught
        assert len(channel.dialogs) == dialogs
        assert not channel._lanes
        # Small ones are not concerned.
        assert await portal.run(endpoints.add, 1, 2) == 3
        channel._laned -= BUDGET + 1
        assert await portal.run(endpoints.length, b"x" * MIB) == MIB
        await nursery.cancel()
