"""Peers that compute for 20 s without a checkpoint, over every transport: they are kept, and answer."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack

import liveness_endpoints as endpoints
import pytest
import trio
from everywhere import SCHEMES, children, descriptors, options, settled, stranger

import tractor_core as tractor

pytestmark = pytest.mark.usefixtures("encrypted")

BUSY = 20.0


async def keep_busy(portal: tractor.Portal, scheme: str) -> None:
    """A call, and beside it a stream, whose peer computes: in Python once, elsewhere in a system call."""
    async with trio.open_nursery() as nursery:
        async with portal.open_context(endpoints.count, seconds=0 if scheme == "tcp" else BUSY) as (
            context,
            _,
        ):
            async with context.open_stream() as stream:
                begun = trio.current_time()
                if scheme == "tcp":
                    # Only now, for nothing of the stream's is read from when it computes. The call goes out
                    # before the answer to the first number has come, hence before the second number.
                    nursery.start_soon(portal.run, endpoints.compute, BUSY)
                for number in range(3):
                    await stream.send(number)
                    assert await stream.receive() == number + 1
                assert trio.current_time() - begun >= BUSY
            assert await context.wait_for_result() == "done"
    assert await portal.run(endpoints.echo, 7) == 7
    assert portal.chan.connected()


@pytest.mark.limit(90)
async def test_a_peer_that_computes_answers_afterwards() -> None:
    """Children, each over its transport, and a stranger over all of them, with calls and streams pending."""
    async with tractor.open_root_actor(**options()) as actor:
        before = descriptors()
        async with stranger() as (process, urls), tractor.open_nursery() as nursery, children(nursery) as own:
            async with AsyncExitStack() as stack:
                far = {
                    scheme: await stack.enter_async_context(tractor.open_portal(urls[scheme]))
                    for scheme in SCHEMES
                }
                begun = trio.current_time()
                async with trio.open_nursery() as tasks:
                    for scheme in SCHEMES:
                        tasks.start_soon(keep_busy, own[scheme], scheme)
                    tasks.start_soon(far["uds"].run, endpoints.block, BUSY)
                    await trio.sleep(0.1)
                    for number, scheme in enumerate(SCHEMES):
                        tasks.start_soon(expect_echo, far[scheme], number)
                assert trio.current_time() - begun >= BUSY
                assert all(portal.chan.connected() for portal in far.values())
            process.terminate()
        assert not actor.peers
        await settled(before)


async def expect_echo(portal: tractor.Portal, number: int) -> None:
    assert await portal.run(endpoints.echo, number) == number


@pytest.mark.limit(90)
async def test_an_actor_that_computes_keeps_its_peers() -> None:
    """The parent itself: idle children, children with a call and a stream under way, one that is booting."""
    async with tractor.open_root_actor(**options()) as actor:
        before = descriptors()
        async with tractor.open_nursery() as nursery, children(nursery) as own, AsyncExitStack() as stack:
            streams = {}
            for scheme in SCHEMES:
                opened = own[scheme].open_context(endpoints.count, seconds=0.0)
                context, _ = await stack.enter_async_context(opened)
                streams[scheme] = await stack.enter_async_context(context.open_stream())
            async with trio.open_nursery() as tasks:
                for scheme in SCHEMES:
                    tasks.start_soon(own[scheme].run, endpoints.end_slowly, 10)
                    tasks.start_soon(start_late, nursery, scheme)
                # The processes are there by then, and dial a parent that does not answer.
                await trio.sleep(0.3)
                time.sleep(BUSY)
            for scheme in SCHEMES:
                await streams[scheme].send(5)
                assert await streams[scheme].receive() == 6
                assert await own[scheme].run(endpoints.echo, 7) == 7
        assert not actor.peers
        await settled(before)


async def start_late(nursery: tractor.ActorNursery, scheme: str) -> None:
    portal = await nursery.start_actor(
        f"late over {scheme}", enable_modules=[endpoints.__name__], enable_transports=[scheme]
    )
    assert portal.chan.laddr.scheme == scheme
    assert await portal.run(endpoints.echo, 1) == 1
