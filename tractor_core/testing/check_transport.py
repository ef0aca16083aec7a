"""Conformance checks for transports: plain async functions, no test framework needed.

::

    from tractor_core.testing import check_listener, check_transport, connected_pair

    async def test_mine():
        await check_transport(connected_pair(transport))
        await check_listener(transport)

A broken promise raises ``AssertionError`` saying which. Each check makes its own connections and is
bounded in time.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeAlias

import trio
import trio.testing

from tractor_core.errors import FrameTooLarge, TransportClosed
from tractor_core.seams import Address, Buffer, Connection, Transport, TransportOptions
from tractor_core.trionics import collapse_eg

from .check_direct import check_descriptors, check_gathering, check_placing

Pair: TypeAlias = tuple[Connection, Connection]
#: Makes two connected ends; leaving the context closes what is left of them.
MakePair: TypeAlias = Callable[[TransportOptions], contextlib.AbstractAsyncContextManager[Pair]]

#: How long one check may take (seconds of trio's clock).
CHECK_TIMEOUT = 20.0
#: Both ends' limit while messages of ordinary size are exchanged (bytes).
ORDINARY_FRAME = 1024 * 1024


def connected_pair(transport: Transport, address: Address | None = None) -> MakePair:
    """A :data:`MakePair` that dials a listener of the transport: (dialling end, accepting end)."""

    @contextlib.asynccontextmanager
    async def make(options: TransportOptions) -> AsyncIterator[Pair]:
        arrived: list[Connection] = []
        accepted, done = trio.Event(), trio.Event()

        async def handler(connection: Connection) -> None:
            arrived.append(connection)
            accepted.set()
            await done.wait()

        listener = await transport.listen(address or transport.default_bind(), options)
        try:
            async with collapse_eg(), trio.open_nursery() as nursery:
                await nursery.start(listener.serve, handler)
                dialled = await transport.connect(listener.address, options)
                try:
                    await accepted.wait()
                    yield dialled, arrived[0]
                finally:
                    done.set()
                    dialled.abort()
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await listener.aclose()

    return make


async def check_transport(make_pair: MakePair, *, max_frame: int = 16 * 1024 * 1024) -> None:
    """Run every check of a pair of connections.

    ``max_frame`` (bytes) is the largest frame exchanged; it is lowered to what the connection can
    carry (``max_send_frame``).
    """
    for check in PAIR_CHECKS:
        with collapse_eg(), trio.fail_after(CHECK_TIMEOUT):
            async with make_pair(TransportOptions()) as (a, b):
                a.max_frame = b.max_frame = ORDINARY_FRAME
                await check(a, b)
    with collapse_eg(), trio.fail_after(CHECK_TIMEOUT):
        async with make_pair(TransportOptions()) as (a, b):
            await check_sizes(a, b, max_frame)


async def check_sizes(a: Connection, b: Connection, max_frame: int) -> None:
    """From nothing to ``max_frame`` bytes, each frame arrives whole, alone and unchanged."""
    a.max_frame = b.max_frame = max_frame
    largest = min(max_frame, a.max_send_frame or max_frame)
    edges = [0, 1, 3, 4, 5, 255, 256, 4095, 4096, 16_383, 16_384, 65_531, 65_532, 65_536, 131_073]
    frames = [_pattern(size, size) for size in edges if size < largest] + [_pattern(largest, 7)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_all, a, frames)
        _expect_frames(await receive_count(b, len(frames)), frames, "sizes")


async def check_order_and_boundaries(a: Connection, b: Connection) -> None:
    """Frames sent in batches of any size come out one by one, in order."""
    frames = [_pattern(index % 97, index) for index in range(3000)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_all, a, frames)
        _expect_frames(await receive_count(b, len(frames)), frames, "order and boundaries")


async def check_both_ways(a: Connection, b: Connection) -> None:
    """Many frames in flight in both directions at once do not disturb each other."""
    there = [_pattern(20_000 if index % 50 == 0 else 30, index) for index in range(1500)]
    back = [_pattern(90_000 if index % 70 == 0 else 11, index + 1) for index in range(1500)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_all, a, there)
        nursery.start_soon(send_all, b, back)
        received: dict[str, list[Buffer]] = {}

        async def collect(name: str, connection: Connection, count: int) -> None:
            received[name] = await receive_count(connection, count)

        nursery.start_soon(collect, "there", b, len(there))
        nursery.start_soon(collect, "back", a, len(back))
    _expect_frames(received["there"], there, "both ways, there")
    _expect_frames(received["back"], back, "both ways, back")


async def check_backpressure(a: Connection, b: Connection) -> None:
    """A peer that does not read clogs the sender in bounded memory, and nothing is lost."""
    frame = _pattern(32 * 1024, 3)
    sent = await clog(a, frame)
    _expect(a.send_nowait([frame]) == 0, "a frame was taken while another was pending")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(a.flush)
        _expect_frames(await receive_count(b, sent), [frame] * sent, "backpressure")
    _expect(not a.pending, "still pending after flush()")
    await send_all(a, [b"after"])
    _expect_frames(await receive_count(b, 1), [b"after"], "after backpressure")


async def check_buffers_are_free(a: Connection, b: Connection) -> None:
    """The sender's buffer may be reused at once, also while clogged; received ones never change."""
    expected: list[bytes] = []
    buffer = bytearray(40_000)
    while not a.pending:
        buffer[:] = bytes([len(expected) % 251]) * len(buffer)
        expected.append(bytes(buffer))
        _expect(a.send_nowait([memoryview(buffer)]) == 1, "an unclogged connection took nothing")
        _expect(len(expected) < 4096, "nothing clogs this connection")
    buffer[:] = b"\xff" * len(buffer)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(a.flush)
        received = await receive_count(b, len(expected))
    await send_all(b, [b"x" * 1000] * 10)
    _expect_frames(received, expected, "reused buffers")


async def check_cancellation_loses_nothing(a: Connection, b: Connection) -> None:
    """Every wait can be cancelled at any moment, and goes on later where it stopped."""
    large = min(200_000, a.max_send_frame or 200_000)
    frames = [_pattern(large if index % 4 == 0 else 100, index) for index in range(60)]
    received: list[Buffer] = []

    async def sender() -> None:
        left: Sequence[Buffer] = frames
        while left or a.pending:
            left = left[a.send_nowait(left) :]
            with trio.move_on_after(0.001):
                await a.flush()

    async def receiver() -> None:
        while len(received) < len(frames):
            with trio.CancelScope() as scope:
                scope.cancel()
                received.extend(await b.receive())
            with trio.move_on_after(0.001):
                received.extend(await b.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(sender)
        nursery.start_soon(receiver)
    _expect_frames(received, frames, "cancellation")


async def check_receive_yields(a: Connection, b: Connection) -> None:
    """A receiver that always finds data still lets other tasks run and can be cancelled."""
    turns = 0

    async def sender() -> None:
        while True:
            a.send_nowait([b"x" * 1000] * 100)
            await a.flush()

    async def counter() -> None:
        nonlocal turns
        while turns < 20:
            await trio.lowlevel.checkpoint()
            turns += 1
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(sender)
        nursery.start_soon(counter)
        while await b.receive():
            pass
    _expect(turns == 20, "receive() starved the other tasks")


async def check_peer_closes(a: Connection, b: Connection) -> None:
    """What was sent before closing arrives, then the end, again and again; sending breaks."""
    await send_all(a, [b"one", b"two"])
    await a.aclose()
    _expect_frames(await receive_count(b, 2), [b"one", b"two"], "before the end")
    for _ in range(2):
        _expect(list(await b.receive()) == [], "the end of the peer is not an empty sequence")
    try:
        for _ in range(100):
            b.send_nowait([b"x" * 1000])
            if b.pending:
                await b.flush()
            await trio.testing.wait_all_tasks_blocked(0.001)
    except TransportClosed as exc:
        _expect(exc.src_exc is not None, "TransportClosed without src_exc")
    else:
        raise AssertionError("sending to a peer that closed never raised TransportClosed")


async def check_we_close(a: Connection, b: Connection) -> None:
    """After closing, everything raises ClosedResourceError; closing again does nothing."""
    await a.aclose()
    await a.aclose()
    a.abort()
    await _expect_closed(a.receive, "receive")
    await _expect_closed(a.flush, "flush")
    try:
        a.send_nowait([b"x"])
    except trio.ClosedResourceError:
        return
    raise AssertionError("send_nowait() after aclose() did not raise ClosedResourceError")


async def check_close_wakes(a: Connection, b: Connection) -> None:
    """Tasks waiting in receive() and flush() get ClosedResourceError when another task closes."""
    await clog(a, b"x" * 32 * 1024)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_expect_closed, a.receive, "receive")
        nursery.start_soon(_expect_closed, a.flush, "flush")
        await trio.testing.wait_all_tasks_blocked(0.01)
        a.abort()


async def check_close_while_cancelled(a: Connection, b: Connection) -> None:
    """aclose() in a cancelled scope releases all the same."""
    with trio.CancelScope() as scope:
        scope.cancel()
        await a.aclose()
    await _expect_closed(a.receive, "receive")
    _expect(list(await b.receive()) == [], "the peer did not see the end")


async def check_abort_is_noticed(a: Connection, b: Connection) -> None:
    """After abort() the peer's receive ends, one way or the other."""
    a.abort()
    try:
        frames = await b.receive()
    except TransportClosed:
        return
    _expect(list(frames) == [], "frames after abort()")


async def check_frame_limit(a: Connection, b: Connection) -> None:
    """The frames before one that is too long arrive; it is refused, unless the limit is raised."""
    b.max_frame = 1000
    await send_all(a, [b"first", b"y" * 1000])
    await send_all(a, [b"z" * 1001])
    _expect_frames(await receive_count(b, 2), [b"first", b"y" * 1000], "within the limit")
    b.max_frame = 1001
    _expect_frames(await receive_count(b, 1), [b"z" * 1001], "raised limit")
    await send_all(a, [b"z" * 1002])
    for _ in range(2):
        try:
            await b.receive()
        except FrameTooLarge:
            continue
        raise AssertionError("a frame over max_frame did not raise FrameTooLarge")


PAIR_CHECKS: tuple[Callable[[Connection, Connection], Awaitable[None]], ...] = (
    check_order_and_boundaries,
    check_both_ways,
    check_backpressure,
    check_buffers_are_free,
    check_cancellation_loses_nothing,
    check_receive_yields,
    check_peer_closes,
    check_we_close,
    check_close_wakes,
    check_close_while_cancelled,
    check_abort_is_noticed,
    check_frame_limit,
    check_gathering,
    check_placing,
    check_descriptors,
)


async def send_all(connection: Connection, frames: Sequence[Buffer]) -> None:
    """Send every frame, waiting where needed."""
    while frames:
        frames = frames[connection.send_nowait(frames) :]
        if connection.pending:
            await connection.flush()


async def clog(connection: Connection, frame: Buffer) -> int:
    """Send until nothing goes any more, because the peer does not read; how many frames were taken.

    Several rounds, because what a connection keeps on its own may still fit into the system's buffers.
    """
    sent = 0
    while True:
        while not connection.pending:
            taken = connection.send_nowait([frame] * 8)
            _expect(taken == 8 or connection.pending, "fewer than all were taken, yet nothing is pending")
            sent += taken
            _expect(sent * len(frame) < 128 * 1024 * 1024, "128 MiB were taken for a peer that does not read")
        # A second time: on a busy machine the first may be over before there was time for anything.
        for _ in range(2):
            with trio.move_on_after(0.05) as scope:
                await connection.flush()
            if not scope.cancelled_caught:
                break
        else:
            return sent


async def receive_count(connection: Connection, count: int) -> list[Buffer]:
    """Receive until so many frames have come; ``AssertionError`` when the peer ends before."""
    received: list[Buffer] = []
    while len(received) < count:
        batch = await connection.receive()
        _expect(bool(batch), f"the peer ended after {len(received)} of {count} frames")
        received.extend(batch)
    return received


def _pattern(size: int, seed: int) -> bytes:
    unit = bytes((seed + step * 31) % 256 for step in range(256))
    return (unit * (size // 256 + 1))[:size]


def _expect(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def _expect_frames(received: Sequence[Buffer], expected: Sequence[Buffer], where: str) -> None:
    _expect(len(received) == len(expected), f"{where}: {len(received)} frames, sent {len(expected)}")
    for index, (got, sent) in enumerate(zip(received, expected, strict=True)):
        _expect(bytes(got) == bytes(sent), f"{where}: frame {index} of {len(sent)} bytes differs")


async def _expect_closed(operation: Callable[[], Awaitable[object]], name: str) -> None:
    try:
        await operation()
    except trio.ClosedResourceError:
        return
    raise AssertionError(f"{name}() on a closed connection did not raise ClosedResourceError")
