"""Conformance of connections that can do more: move large frames without a copy in between
(``DirectConnection``), pass descriptors (``DescriptorConnection``)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import cast

import trio

from tractor_core.seams import Buffer, Connection, DirectConnection, Frame, Place, as_direct, as_passing

#: How a frame that wants a place of its own begins, in these checks.
_MARK = b"to its place:"


async def check_gathering(a: Connection, b: Connection) -> None:
    """Frames in several buffers arrive as one each, also when the peer does not read for a while."""
    sender = as_direct(a)
    if sender is None:
        return
    part = bytearray(b"part")
    frames: list[Frame] = [
        (b"", b""),
        (b"head", b"x" * 70_000),
        b"whole",
        (b"h", memoryview(bytes(range(256)) * 300)[3:], part, b"", b"tail"),
        (b"all", b"small"),
    ]
    frames *= 12
    expected = [b"".join(frame) if isinstance(frame, tuple) else bytes(frame) for frame in frames]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_send_and_overwrite, sender, frames, part)
        for _ in range(20):
            await trio.lowlevel.checkpoint()  # let it clog
        received = await _receive(b, len(expected))
    if [bytes(frame) for frame in received] != expected:
        raise AssertionError("gathering: frames in several buffers did not arrive as they were sent")


async def check_placing(a: Connection, b: Connection) -> None:
    """Data goes to the place that was named for it, in order with other frames, and nowhere else."""
    receiver = as_direct(b)
    if receiver is None:
        return
    body = b"".join(bytes([index]) * 100_000 for index in range(1, 9))
    frames: list[Frame] = []
    for start in range(0, len(body), 100_000):
        frames += [b"small", _MARK + body[start : start + 100_000], b"y" * 30_000]
    frames.append(b"the end")
    memory = bytearray(len(body))
    filled = placed = 0
    others: list[bytes] = []

    def place(frame: memoryview, length: int) -> Place | None:
        nonlocal filled, placed
        if bytes(frame[: len(_MARK)]) != _MARK:
            return None
        start, filled = filled, filled + length - len(_MARK)
        placed += 1
        return Place(len(_MARK), memoryview(memory)[start:filled], lambda: f"place {start}".encode())

    receiver.placer = place
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_send, a, frames)
        while not others or others[-1] != b"the end":
            for frame in await receiver.receive():
                if bytes(frame[: len(_MARK)]) == _MARK:
                    memory[filled : filled + len(frame) - len(_MARK)] = frame[len(_MARK) :]
                    filled += len(frame) - len(_MARK)
                else:
                    others.append(bytes(frame))
    receiver.placer = None
    if memory != body:
        raise AssertionError("placing: the data is not what was sent")
    if not placed or sum(frame.startswith(b"place ") for frame in others) != placed:
        raise AssertionError("placing: no place was asked for, or what a filled one returns was not received")
    expected = [frame for frame in frames if isinstance(frame, bytes) and not frame.startswith(_MARK)]
    if [frame for frame in others if not frame.startswith(b"place ")] != expected:
        raise AssertionError("placing: other frames did not arrive as they were sent")


async def check_descriptors(a: Connection, b: Connection) -> None:
    """A descriptor arrives with its frame where it was expected, once, and closed to started processes."""
    sender, receiver = as_passing(a), as_passing(b)
    if sender is None or receiver is None:
        return
    reading, writing = os.pipe()
    try:
        receiver.expect_descriptor()
        if not sender.send_descriptor(b"with it", writing):
            raise AssertionError("descriptors: an idle connection took none")
        sender.send_nowait([b"behind"])
        frames = [bytes(frame) for frame in await _receive(b, 2)]
        if frames != [b"with it", b"behind"]:
            raise AssertionError("descriptors: the frames did not arrive as they were sent")
        descriptor = receiver.take_descriptor()
        if descriptor is None or receiver.take_descriptor() is not None:
            raise AssertionError("descriptors: not exactly one arrived")
        os.write(descriptor, b"x")
        inheritable = os.get_inheritable(descriptor)
        os.close(descriptor)
        if inheritable or os.read(reading, 2) != b"x":
            raise AssertionError("descriptors: it is not the one sent, or processes would inherit it")
        sender.send_descriptor(b"another", writing)
        await _receive(b, 1)
        if receiver.take_descriptor() is not None:
            raise AssertionError("descriptors: one arrived that nobody expected")
    finally:
        os.close(reading)
        os.close(writing)


async def _send(sender: Connection, frames: Sequence[Frame]) -> None:
    # Tuples are among them only where the connection takes them.
    direct = cast("DirectConnection", sender)
    while frames or sender.pending:
        frames = frames[direct.send_nowait(frames) :]
        await sender.flush()


async def _send_and_overwrite(sender: DirectConnection, frames: Sequence[Frame], part: bytearray) -> None:
    """Send, changing ``part`` whenever all that had it was taken: what was taken must not change with it."""
    original = bytes(part)
    while frames or sender.pending:
        part[:] = original
        frames = frames[sender.send_nowait(frames) :]
        part[:] = b"\xff" * len(part)
        await sender.flush()


async def _receive(connection: Connection, count: int) -> list[Buffer]:
    received: list[Buffer] = []
    while len(received) < count:
        frames = await connection.receive()
        if not frames:
            raise AssertionError(f"the stream ended after {len(received)} frames of {count}")
        received += frames
    return received
