"""What is particular to mem://: names per run, bounds, virtual delays, faults."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tractor_core.errors import TransportClosed
from tractor_core.seams import TransportOptions
from tractor_core.testing import MemConnection, MemNetwork, connected_pair
from tractor_core.testing.check_transport import receive_count, send_all
from tractor_core.testing.mem import transport
from tractor_core.testing.mem_pipe import MAX_FRAMES

OPTIONS = TransportOptions()
pair = connected_pair(transport)


def ours(connection: object) -> MemConnection:
    assert isinstance(connection, MemConnection)
    return connection


@pytest.mark.parametrize("url", ["tcp://h:1", "mem://a:1", "mem://a/b", "mem://a?b=c", "mem:a"])
def test_parse_errors(url: str) -> None:
    with pytest.raises(ValueError, match="mem"):
        transport.parse(url)


def test_names_end_with_their_run() -> None:
    async def listen() -> str:
        await transport.listen(transport.default_registry(), OPTIONS)
        listener = await transport.listen(transport.default_bind(), OPTIONS)
        assert transport.distance(listener.address) == 0
        return listener.address.url

    first = trio.run(listen)
    assert trio.run(listen) == first
    assert transport.distance(transport.parse(first)) is None


async def test_fresh_names_avoid_taken_ones() -> None:
    await transport.listen(transport.parse("mem://auto-1"), OPTIONS)
    listener = await transport.listen(transport.default_bind(), OPTIONS)
    assert listener.address.host not in ("", "auto-1")


async def test_a_peer_not_yet_accepted_ends_with_the_listener() -> None:
    listener = await transport.listen(transport.parse("mem://a"), OPTIONS)
    connection = await transport.connect(listener.address, OPTIONS)
    connection.send_nowait([b"hello"])
    await listener.aclose()
    assert list(await connection.receive()) == []
    await connection.aclose()
    assert MemNetwork.current().connections == []


async def test_the_network_finds_connections() -> None:
    async with pair(OPTIONS) as (a, b):
        network = MemNetwork.current()
        assert network.connections == [a, b]
        assert network.dialled(a.remote.host) == [a]
        a.abort()
        assert network.connections == [b]


async def test_the_bound_is_counted_in_frames_too() -> None:
    async with pair(OPTIONS) as (a, _):
        assert a.send_nowait([b""] * 1000) == MAX_FRAMES + 1
        assert a.pending


async def test_delay_is_virtual_and_keeps_order(autojump_clock: MockClock) -> None:
    async with pair(OPTIONS) as (a, b):
        began = trio.current_time()
        ours(a).delay = 100.0
        a.send_nowait([b"slow"])
        ours(a).delay = 0.0
        a.send_nowait([b"fast"])
        assert await receive_count(b, 2) == [b"slow", b"fast"]
        assert trio.current_time() == began + 100.0


async def test_delay_of_the_network_holds_for_new_connections(autojump_clock: MockClock) -> None:
    MemNetwork.current().delay = 5.0
    async with pair(OPTIONS) as (a, b):
        began = trio.current_time()
        b.send_nowait([b"x"])
        assert await a.receive() == [b"x"]
        assert trio.current_time() == began + 5.0


async def test_the_end_arrives_behind_delayed_frames(autojump_clock: MockClock) -> None:
    async with pair(OPTIONS) as (a, b):
        ours(a).delay = 5.0
        a.send_nowait([b"x"])
        await a.aclose()
        assert await b.receive() == [b"x"]
        assert await b.receive() == []


async def test_drop_truncate_corrupt() -> None:
    async with pair(OPTIONS) as (a, b):
        ours(a).drop()
        ours(a).truncate(2)
        ours(a).corrupt()
        await send_all(a, [b"lost", b"short", b"\x00\xff", b"good"])
        assert await receive_count(b, 3) == [b"sh", b"\xff\x00", b"good"]


async def test_own_fault() -> None:
    async with pair(OPTIONS) as (a, b):
        ours(a).set_fault(lambda frame: None if frame == b"b" else frame.upper())
        await send_all(a, [b"a", b"b", b"c"])
        assert await receive_count(b, 2) == [b"A", b"C"]
        ours(a).set_fault(None)
        await send_all(a, [b"b"])
        assert await receive_count(b, 1) == [b"b"]


async def test_cut_breaks_both_ends_and_wakes_them() -> None:
    async with pair(OPTIONS) as (a, b):
        broken = []

        async def receive(connection: MemConnection) -> None:
            with pytest.raises(TransportClosed) as caught:
                await connection.receive()
            broken.append(type(caught.value.src_exc))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive, ours(a))
            nursery.start_soon(receive, ours(b))
            await trio.testing.wait_all_tasks_blocked()
            ours(a).cut()
        assert broken == [ConnectionResetError] * 2
        for connection in (a, b):
            with pytest.raises(TransportClosed):
                connection.send_nowait([b"x"])


async def test_cut_wakes_a_clogged_sender() -> None:
    async with pair(OPTIONS) as (a, b):
        a.send_nowait([b""] * 1000)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def flush() -> None:
                with pytest.raises(TransportClosed):
                    await a.flush()

            await trio.testing.wait_all_tasks_blocked()
            ours(b).cut()


async def test_cut_after_some_frames() -> None:
    async with pair(OPTIONS) as (a, b):
        ours(a).cut(after=2)
        a.send_nowait([b"one"])
        assert await b.receive() == [b"one"]
        a.send_nowait([b"two"])
        with pytest.raises(TransportClosed):
            await b.receive()


async def test_closing_while_clogged_is_a_cut_frame_for_the_peer() -> None:
    async with pair(OPTIONS) as (a, b):
        taken = a.send_nowait([b"x"] * 1000)
        await a.aclose()
        assert len(await receive_count(b, taken - 1)) == taken - 1
        with pytest.raises(TransportClosed, match="middle of a frame"):
            await b.receive()
