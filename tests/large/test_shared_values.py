"""Large values between processes: that memory is shared, and what is left of it whoever dies."""

from __future__ import annotations

import gc
import os
import signal
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import registries
import shared_endpoints as endpoints
import trio

import tractor_core as tractor
from tractor_core import Limits
from tractor_core.errors import RemoteActorError

MIB = 1024 * 1024


@asynccontextmanager
async def worker(
    scheme: str = "uds", limits: Limits | None = None, *, dies: bool = False
) -> AsyncIterator[tractor.Portal]:
    try:
        async with tractor.open_nursery(
            registry_addrs=[registries.new_registry(scheme)],
            enable_transports=[scheme],
            limits=limits or Limits(),
        ) as nursery:
            yield await nursery.start_actor(
                "worker", enable_modules=[endpoints.__name__], start_method="forkserver"
            )
            await nursery.cancel()
    except tractor.ActorDied:
        if not dies:
            raise


def value(byte: int, size: int = MIB) -> bytes:
    return bytes([byte]) * size


@pytest.mark.parametrize(
    ("scheme", "limits", "expected"),
    [("uds", Limits(), True), ("uds", Limits(shared_memory=0), False), ("tcp", Limits(), False)],
    ids=["uds", "off", "tcp"],
)
async def test_results_are_the_same_with_and_without(scheme: str, limits: Limits, expected: bool) -> None:
    async with worker(scheme, limits) as portal:
        for byte, size in enumerate([10, 100_000, 200_000, MIB, 5 * MIB, 20 * MIB, 131_072, 131_073] * 2):
            data = value(byte, size)
            assert await portal.run(endpoints.checksum, data=data) == zlib.crc32(data)
            assert await portal.run(endpoints.same, data=data) == data
        assert (portal.chan.shared > 0) is expected
        assert (await portal.run(endpoints.shared) > 0) is expected
        assert (endpoints.mapped()[0] > 0) is expected
        with pytest.raises(RemoteActorError, match="not this") as caught:
            await portal.run(endpoints.refuse, data=value(7))
        assert caught.value.boxed_type is ValueError


async def test_its_status_tells_that_memory_is_shared() -> None:
    async with worker() as portal:
        for byte in range(5):
            await portal.run(endpoints.checksum, data=value(byte))
        status = await portal.run_from_ns("self", "status")
        assert status["shared"] == portal.chan.shared >= 3


async def test_ten_thousand_values_reuse_a_bounded_memory() -> None:
    async with worker() as portal:
        data = value(1, 200_000)
        async with portal.open_context(endpoints.take, keep=3) as (ctx, _):
            async with ctx.open_stream() as stream:
                for _ in range(10_000):
                    await stream.send(data)
            _, count = await ctx.wait_for_result()
        assert count == 10_000
        assert portal.chan.shared > 5_000
        mappings, used = await portal.run(endpoints.mappings)
        assert mappings == 1
        assert used <= 32 * 1024
    gc.collect()
    assert endpoints.mapped() == (0, 0)


async def test_who_keeps_every_view_gets_all_values_all_the_same() -> None:
    async with worker(limits=Limits(shared_memory=8 * MIB)) as portal:
        sums = []
        for byte in range(25):
            data = value(byte)
            assert await portal.run(endpoints.keep, data=data) == byte + 1
            sums.append(zlib.crc32(data))
        assert portal.chan.shared == 7
        assert await portal.run(endpoints.kept_checksums) == sums


async def test_a_view_in_an_error_keeps_what_it_shows() -> None:
    async with worker() as portal:
        await portal.run(endpoints.checksum, data=value(0))
        with pytest.raises(RemoteActorError, match="kept"):
            await portal.run(endpoints.raise_with_view, data=value(5))
        for byte in range(60):
            await portal.run(endpoints.checksum, data=value(byte))
        before = portal.chan.shared
        assert before > 50
        # Here, where the error of a caller holds what it had received.
        result = await portal.run(endpoints.same, data=value(6))
        try:
            raise ValueError(result)
        except ValueError as error:
            held = error
        del result
        for byte in range(60):
            await portal.run(endpoints.same, data=value(byte))
        assert held.args[0] == value(6)


async def test_views_outlive_the_actor_that_sent_them() -> None:
    async with worker() as portal:
        for byte in range(3):
            held = await portal.run(endpoints.same, data=value(byte))
        assert portal.chan.shared > 2
    assert held == value(2)
    assert endpoints.mapped()[0] == 1
    del held
    gc.collect()
    assert endpoints.mapped()[0] == 0


async def test_killed_while_it_holds_views() -> None:
    """The receiver is killed with a view in its hands: the sender is told, and keeps nothing."""
    with trio.fail_after(20):
        async with worker(dies=True) as portal:
            for byte in range(3):
                await portal.run(endpoints.keep, data=value(byte))
            with pytest.raises(tractor.TransportClosed):
                await portal.run(endpoints.die_holding, data=value(9))
            await portal.chan.wait_closed()
    gc.collect()
    assert endpoints.mapped()[0] == 0


async def receive_from(portal: tractor.Portal) -> list[memoryview]:
    """Kill the sender in the middle of its stream; the last five views that came."""
    held: list[memoryview] = []
    with pytest.raises(tractor.TransportClosed), tractor.msg.limit_plds(memoryview | None):
        async with portal.open_context(endpoints.produce, size=MIB) as (ctx, _):
            async with ctx.open_stream(overflow="block") as stream:
                while ctx.chan.shared < 50:
                    held = [*held, await stream.receive()][-5:]
                os.kill(ctx.chan.aid.pid, signal.SIGKILL)
                async for view in stream:
                    held = [*held, view][-5:]
    await portal.chan.wait_closed()
    return held


async def test_killed_in_the_middle_of_a_stream_of_its_values() -> None:
    """The sender is killed: what was received stays as it is, for as long as anybody looks at it."""
    with trio.fail_after(20):
        async with worker(dies=True) as portal:
            held = await receive_from(portal)
    assert [bytes(view) for view in held] == [bytes(MIB)] * 5
    assert endpoints.mapped()[0] == 1
    held.clear()
    # The channel knows the error that ended it, and its traceback the task that had a view in hand.
    del portal
    gc.collect()
    assert endpoints.mapped()[0] == 0


async def test_a_cancelled_stream_leaves_the_memory_to_others() -> None:
    async with worker() as portal:
        for _ in range(5):
            async with portal.open_context(endpoints.produce, size=MIB) as (ctx, _):
                async with ctx.open_stream(overflow="block") as stream:
                    for _ in range(20):
                        await stream.receive()
                await ctx.cancel()
        before = portal.chan.shared
        assert before > 50
        for byte in range(5):
            await portal.run(endpoints.same, data=value(byte))
        assert portal.chan.shared >= before + 8
