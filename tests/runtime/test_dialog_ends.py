"""How dialogs end when the path, the peer or the user's code does what it should not."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import dialog_endpoints as endpoints
import pytest
import trio
import trio.testing

import tractor_core as tractor
from tractor_core.errors import ActorTooSlowError, RemoteActorError, TransportClosed
from tractor_core.msg import types as m

ENDPOINTS = "dialog_endpoints"


@pytest.fixture(autouse=True)
def fresh_notes() -> None:
    endpoints.notes.clear()


@asynccontextmanager
async def worker(name: str) -> AsyncIterator[tuple[tractor.Portal, str]]:
    """A portal to an actor in memory, and its address."""
    async with tractor.open_nursery(registry_addrs=[f"mem://{name}"], start_method="inproc") as nursery:
        portal = await nursery.start_actor("worker", enable_modules=[ENDPOINTS])
        status = await portal.run_from_ns("self", "status")
        yield portal, status["addresses"][0]
        await nursery.cancel()


async def test_a_cut_ends_every_dialog_at_both_ends(autojump_clock: trio.testing.MockClock) -> None:
    ended: list[str] = []

    async def call(portal: tractor.Portal) -> None:
        with pytest.raises(TransportClosed):
            await portal.run(endpoints.wait_for_ever)
        ended.append("call")

    async def sleep_in_context(portal: tractor.Portal) -> None:
        with pytest.raises(TransportClosed):
            async with portal.open_context(endpoints.waits_in_stream):
                await trio.sleep_forever()
        ended.append("context")

    async def receive(portal: tractor.Portal) -> None:
        with pytest.raises(TransportClosed):
            async with portal.open_context(endpoints.waits_in_stream) as (context, _):
                async with context.open_stream() as stream:
                    await stream.receive()
        ended.append("stream")

    async def send(portal: tractor.Portal) -> None:
        with pytest.raises(TransportClosed):
            async with portal.open_context(endpoints.waits_in_stream) as (context, _):
                async with context.open_stream() as stream:
                    while True:
                        await stream.send(bytes(1000))
        ended.append("sender")

    async def iterate(portal: tractor.Portal) -> None:
        with pytest.raises(TransportClosed):
            async with portal.open_stream_from(endpoints.endless) as stream:
                await stream.receive()
                await trio.sleep_forever()
        ended.append("generator")

    async with worker("cut") as (steady, address):
        async with tractor.open_portal(address) as portal:
            async with trio.open_nursery() as nursery:
                for attempt in (call, sleep_in_context, receive, iterate):
                    nursery.start_soon(attempt, portal)
                await trio.testing.wait_all_tasks_blocked(0.01)
                nursery.start_soon(send, portal)
                started = trio.current_time()
                portal.chan.connection.cut()
            assert trio.current_time() - started < 1
            assert not portal.chan.connected() and portal.chan.dialogs == {}
            with pytest.raises(TransportClosed):
                await portal.run(endpoints.add, 1, 2)
            with pytest.raises(TransportClosed):
                async with portal.open_context(endpoints.waits_in_stream):
                    pass
            assert await portal.cancel_actor()  # it is gone as far as this portal can tell
        assert sorted(ended) == ["call", "context", "generator", "sender", "stream"]
        await trio.testing.wait_all_tasks_blocked()
        assert endpoints.notes.count("cancelled") + endpoints.notes.count("closed") == 3
        assert "generator closed" in endpoints.notes
        # Nobody else is disturbed, and nothing is left there.
        assert (await steady.run_from_ns("self", "status"))["dialogs"] <= 2


async def test_closing_a_portal_ends_what_it_carries(autojump_clock: trio.testing.MockClock) -> None:
    async with worker("aclose") as (_, address):
        async with tractor.open_portal(address) as portal:
            async with trio.open_nursery() as nursery:

                async def call() -> None:
                    with pytest.raises(TransportClosed):
                        await portal.run(endpoints.wait_for_ever)

                nursery.start_soon(call)
                await trio.testing.wait_all_tasks_blocked(0.01)
                await portal.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert endpoints.notes == ["waiting", "cancelled"]


async def test_a_cancel_that_is_not_acknowledged(autojump_clock: trio.testing.MockClock) -> None:
    async with worker("no-ack") as (portal, _):
        async with portal.open_context(endpoints.waits_in_stream) as (context, _):
            await trio.testing.wait_all_tasks_blocked()
            portal.chan.connection.drop(1)
            with pytest.raises(ActorTooSlowError, match="did not acknowledge"):
                await context.cancel(timeout=0.1)
            # Leaving asks again, and is heard.
        assert context.cancelled_caught
        portal.chan.connection.drop(1)
        with pytest.raises(ActorTooSlowError):
            await portal.cancel_actor(timeout=0.1, raise_on_timeout=True)


async def test_a_failed_stream_is_the_outcome_whatever_the_task_makes_of_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with worker("swallowed") as (portal, _):
        with pytest.raises(tractor.StreamOverrun):
            async with portal.open_context(endpoints.swallows_overrun) as (context, _):
                async with context.open_stream():
                    await trio.sleep_forever()
        assert endpoints.notes == ["swallowed", "again"]


async def test_a_handled_error_in_a_stream_is_its_end(autojump_clock: trio.testing.MockClock) -> None:
    async with worker("handled") as (portal, _):
        async with portal.open_context(endpoints.handles_own_error) as (context, _):
            async with context.open_stream() as stream:
                assert [value async for value in stream] == []
            await context.cancel()


async def test_errors_that_nobody_awaits_are_logged(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with worker("unseen") as (portal, _):
        with caplog.at_level(logging.ERROR), trio.move_on_after(0.1):
            await portal.run(endpoints.fails_when_cancelled)
        assert "in clean-up" in caplog.text and "ValueError" in caplog.text


async def test_an_interrupt_raised_by_hand_is_its_callers_affair(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with worker("interrupt") as (portal, _):
        with pytest.raises(RemoteActorError) as caught:
            await portal.run(endpoints.interrupt)
        assert caught.value.boxed_type_str == "KeyboardInterrupt"
        assert await portal.run(endpoints.add, 1, 2) == 3


async def test_an_interrupt_in_the_root_is_the_users(autojump_clock: trio.testing.MockClock) -> None:
    with pytest.raises(KeyboardInterrupt):
        async with tractor.open_nursery(
            registry_addrs=["mem://interrupted"], start_method="inproc", enable_modules=[ENDPOINTS]
        ) as nursery:
            portal = await nursery.start_actor("worker", enable_modules=[ENDPOINTS])
            root = tractor.current_actor().accept_addrs[0]
            await portal.run(endpoints.interrupts_other, str(root))


async def test_what_dialling_tasks_keep_in_variables_stays_theirs(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with tractor.open_nursery(registry_addrs=["mem://variables"], start_method="inproc") as nursery:
        one = await nursery.start_actor("one", enable_modules=[ENDPOINTS])
        two = await nursery.start_actor("two", enable_modules=[ENDPOINTS])
        address = (await two.run_from_ns("self", "status"))["addresses"][0]
        async with one.open_context(endpoints.dials_with_flavour, address=address) as (_, first):
            assert first == ["plain", False]
        await nursery.cancel()


async def test_many_dialogs_are_refused_one_by_one(autojump_clock: trio.testing.MockClock) -> None:
    async with tractor.open_nursery(
        registry_addrs=["mem://limited"], start_method="inproc", limits=tractor.Limits(max_dialogs=5)
    ) as nursery:
        portal = await nursery.start_actor("worker", enable_modules=[ENDPOINTS])
        refused = 0

        async def call() -> None:
            nonlocal refused
            try:
                await portal.run(endpoints.wait_for_ever)
            except RemoteActorError as error:
                assert error.boxed_type is ActorTooSlowError
                refused += 1

        with trio.move_on_after(0.1):
            async with trio.open_nursery() as tasks:
                for _ in range(8):
                    tasks.start_soon(call)
        assert refused >= 3
        assert await portal.run(endpoints.add, 1, 2) == 3
        await nursery.cancel()


async def test_illegal_messages_end_their_dialog_only(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A peer that writes by hand: wrong ids, wrong states, more than it was granted, late traffic."""
    async with worker("by-hand") as (steady, address):
        async with await tractor.Channel.from_addr(address) as channel:
            codec = channel.codec
            nothing, empty = codec.encode_payload({}), codec.encode_payload([])
            target = f"{ENDPOINTS}:waits_in_stream"
            await channel.send(m.Start(3, target, "context", empty, nothing))
            refusal = await channel.recv()
            assert isinstance(refusal, m.Error) and "not the sender's to choose" in refusal.error.message
            # Late traffic is dropped.
            for late in (m.Stop(40), m.Yield(40, empty), m.Credit(40, 1, 1), m.StartAck(40, "context")):
                await channel.send(late)
            await channel.send(m.Start(2, target, "context", empty, nothing))
            assert isinstance(await channel.recv(), m.StartAck)
            assert isinstance(await channel.recv(), m.Started)
            assert isinstance(await channel.recv(), m.Open)
            await channel.send(m.Started(2, empty))
            error = await channel.recv()
            assert isinstance(error, m.Error) and "protocol violation" in error.error.message
            await channel.send(m.Ping(7))
            answer = await channel.recv()
            assert isinstance(answer, m.Pong) and answer.serial == 7
        assert await steady.run(endpoints.add, 1, 2) == 3
    assert "protocol violation" in caplog.text
