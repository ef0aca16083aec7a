"""Frames on a byte stream: a 4-byte little-endian length before each. No I/O, no trio."""

from __future__ import annotations

from struct import Struct

from tractor_core.errors import FrameTooLarge

from .transport import Buffer, Place, Placer

_HEADER = Struct("<I")
_unpack_length = _HEADER.unpack_from

#: Bytes of the length prefix.
HEADER_SIZE = _HEADER.size
#: A frame longer than this, when it has not arrived whole, gets a buffer of its exact size that the
#: rest is read into; a shorter one is joined from what was read, which costs fewer system calls.
LARGE_FRAME = 128 * 1024
#: A frame longer than this may go to a place of its own; asking for one would cost more for less.
PLACED_FRAME = 16 * 1024
#: Bytes of a frame that are there when its place is asked for.
PLACING_HEAD = 64

#: The prefix of a frame of so many bytes; ``struct.error`` beyond 4 GiB.
pack_header = _HEADER.pack


class FrameSplitter:
    """Cuts a stream of bytes into frames. Sans-IO; one per direction of one connection.

    Feed it what was read with :meth:`feed`. While a large frame is under way, :attr:`target` is the
    unfilled part of its buffer: read straight into that and report with :meth:`filled`; feeding
    works then too, at the cost of a copy.

    The limit is checked on the prefix, before the body is buffered. Frames in front of one that is
    too long are delivered first, and the limit is checked again by the next call: a peer may send a
    large frame right behind the one that makes the receiver raise its limit.

    With a :attr:`placer`, the data of larger frames goes where that says. Frames in front of such a frame
    may have a say in that: so :meth:`settle` asks, once the caller has dealt with all it was given.
    """

    __slots__ = ("_body", "_failed", "_rest", "max_frame", "placer", "stalled", "target")

    def __init__(self, max_frame: int) -> None:
        #: Largest frame accepted (bytes); may be changed at any time.
        self.max_frame = max_frame
        #: Where the rest of a large frame belongs, or None between such frames.
        self.target: memoryview | None = None
        #: True when a prefix over the limit was met behind good frames: call ``feed(b"")`` before
        #: reading on.
        self.stalled = False
        #: Says where the data of a frame belongs, or None where each frame gets a buffer.
        self.placer: Placer | None = None
        self._rest = b""
        self._body: bytearray | Place | None = None
        self._failed = ""

    @property
    def mid_frame(self) -> bool:
        """Whether an end of the stream here would cut a frame in two."""
        return bool(self._rest) or self._body is not None

    def feed(self, data: bytes) -> list[Buffer]:
        """Take what was read and return every frame that is now whole, in order.

        Raises ``FrameTooLarge``, and again from each later call: the stream cannot be resumed.
        """
        if self._failed:
            raise FrameTooLarge(self._failed)
        frames: list[Buffer] = []
        position = 0
        if self.target is not None:
            position = min(len(self.target), len(data))
            self.target[:position] = memoryview(data)[:position]
            frames = self.filled(position)
            if self.target is not None:
                return frames
        elif self._rest:
            data = self._rest + data
        self.stalled = False
        end = len(data)
        limit = self.max_frame
        append = frames.append
        while (start := position + HEADER_SIZE) <= end:
            length = _unpack_length(data, position)[0]
            stop = start + length
            if length > limit:
                self._stop_before(length, frames)
                break
            if stop > end:
                if length > LARGE_FRAME:
                    self._begin_large(length, data, start)
                    self._rest = b""
                    return frames
                break
            append(data[start:stop])
            position = stop
        self._rest = data[position:]
        return frames

    def filled(self, count: int) -> list[Buffer]:
        """Say that ``count`` bytes were written to the front of :attr:`target`."""
        target, body = self.target, self._body
        if target is None or body is None:
            raise RuntimeError("no large frame is under way")
        if count < len(target):
            self.target = target[count:]
            return []
        self.target = self._body = None
        frame = body if isinstance(body, bytearray) else body.finish()
        return [] if frame is None else [frame]

    def settle(self) -> None:
        """Find a place for the frame that is under way, if it should have one: :attr:`target` is that then.

        To be called before reading on, and only once all frames that were returned have been dealt with.
        """
        rest = self._rest
        if self.placer is None or self._body is not None or len(rest) < HEADER_SIZE + PLACING_HEAD:
            return
        length = _unpack_length(rest)[0]
        if not PLACED_FRAME < length <= self.max_frame:
            return
        frame = memoryview(rest)[HEADER_SIZE:]
        place = self.placer(frame, length)
        if place is None:
            return
        have = len(frame) - place.start
        place.memory[:have] = frame[place.start :]
        self._body = place
        self._rest = b""
        self.target = place.memory[have:]

    def _begin_large(self, length: int, data: bytes, start: int) -> None:
        self._body = bytearray(length)
        view = memoryview(self._body)
        have = len(data) - start
        # Between memoryviews this is one memmove; assigning to a slice of the bytearray copies twice.
        view[:have] = memoryview(data)[start:]
        self.target = view[have:]

    def _stop_before(self, length: int, frames: list[Buffer]) -> None:
        self.stalled = True
        if not frames:
            limit = self.max_frame
            self._failed = f"the peer announced a frame of {length} bytes, over the limit of {limit}"
            raise FrameTooLarge(self._failed)
