"""Whole trees of processes with ZeroMQ as their only transport."""

from __future__ import annotations

import os
import signal

import pytest
import trio
import trio.testing
import zmq_trees

import tractor_core as tractor
from tractor_core.errors import ActorDied, TransportClosed


@pytest.fixture(params=["zmq+tcp", "zmq+ipc", "zmq"])
def meeting(request: pytest.FixtureRequest) -> str:
    """A registry address that nobody has yet."""
    if request.param == "zmq+ipc":
        return f"zmq+ipc://{os.environ['XDG_RUNTIME_DIR']}/meeting-{os.urandom(4).hex()}.sock"
    return f"{request.param}://127.0.0.1:0"


async def test_a_program(meeting: str) -> None:
    async with tractor.open_nursery(registry_addrs=[meeting], start_method="subprocess") as nursery:
        portal = await nursery.start_actor("worker", enable_modules=["zmq_trees"])
        assert portal.chan.raddr.scheme.startswith("zmq+") or portal.chan.laddr.scheme.startswith("zmq+")
        assert await portal.run(zmq_trees.add, 1, 2) == 3
        assert len(await portal.run(zmq_trees.blob, 20_000_000)) == 20_000_000
        async with portal.open_stream_from(zmq_trees.count, n=2000) as stream:
            assert [value async for value in stream] == list(range(2000))
        async with portal.open_context(zmq_trees.echo) as (ctx, first):
            assert first == "ready"
            async with ctx.open_stream() as stream:
                for value in ("a", b"b" * 300_000, 3):
                    await stream.send(value)
                    assert await stream.receive() == value
        assert await ctx.wait_for_result() == "end"
        async with tractor.find_actor("worker") as found:
            assert found is not None
            assert await found.run(zmq_trees.pid) == await portal.run(zmq_trees.pid)
        pids = await portal.run(zmq_trees.ask_below, depth=2)
        assert len(set(pids)) == 3
        await portal.cancel_actor()


async def test_a_killed_child_ends_its_calls(meeting: str) -> None:
    ended: list[Exception] = []

    async def call(portal: tractor.Portal) -> None:
        try:
            await portal.run(zmq_trees.forever)
        except TransportClosed as error:
            ended.append(error)

    with trio.fail_after(10), pytest.raises(ActorDied):
        async with tractor.open_nursery(registry_addrs=[meeting], start_method="subprocess") as nursery:
            portal = await nursery.start_actor("worker", enable_modules=["zmq_trees"])
            number = await portal.run(zmq_trees.pid)
            async with trio.open_nursery() as calls:
                calls.start_soon(call, portal)
                await trio.testing.wait_all_tasks_blocked(0.05)
                os.kill(number, signal.SIGKILL)
    assert len(ended) == 1


async def test_a_child_that_computes_is_kept(meeting: str) -> None:
    async with tractor.open_nursery(registry_addrs=[meeting], start_method="subprocess") as nursery:
        portal = await nursery.start_actor("worker", enable_modules=["zmq_trees"])
        assert await portal.run(zmq_trees.compute, seconds=5) == "done"
        assert await portal.run(zmq_trees.add, 1, 2) == 3
        await portal.cancel_actor()


async def test_zeromq_beside_others() -> None:
    """Who looks up takes the nearest; all of them lead there."""
    schemes = ["tcp", "zmq+tcp", "zmq+ipc"]
    async with tractor.open_nursery(
        registry_addrs=["zmq+tcp://127.0.0.1:0"], enable_transports=schemes, start_method="subprocess"
    ) as nursery:
        portal = await nursery.start_actor("worker", enable_modules=["zmq_trees"])
        number = await portal.run(zmq_trees.pid)
        async with tractor.find_actor("worker") as found:
            assert found is not None
            assert await found.run(zmq_trees.pid) == number
        await portal.cancel_actor()
