"""Messages too large to go at once: cut into pieces at the sender, put together at the receiver.

A piece in messagepack that is not the first of its message ends with its data, so both sides can
move that without a copy: the sender writes it from where it is (:meth:`Cutter.next_gathered`), the
receiver reads it into the message that is being put together (:meth:`Joiner.place`).
"""

from __future__ import annotations

import mmap
from collections import deque
from contextlib import suppress
from functools import cache, partial
from typing import NamedTuple, TypeAlias, cast

import msgspec

from tractor_core.msg.gathered import Gathered, bin_head
from tractor_core.msg.types import Chunk, Invite, Lend, Memory, Release
from tractor_core.seams import Place

#: Bytes of message in one chunk: small enough that a small frame does not wait long behind it.
CHUNK = 64 * 1024

#: The same where pieces go from where they are to where they belong: half as much again takes a tenth off the
#: time that each side spends on a value. With 128 KiB it is as much, and small frames wait a quarter longer.
DIRECT_CHUNK = 96 * 1024

#: A message up to this size goes as one frame; see docs/explanation for the measurements.
WHOLE_UP_TO = 128 * 1024

#: Bytes that an unfinished message counts for besides its own: about what keeping track of one costs.
UNFINISHED = 512

#: Messages longer than this (bytes) get memory that costs nothing until it is filled; for shorter
#: ones memory that was in use before is quicker.
LAZY_FROM = 4 * 1024 * 1024

#: Bytes of the block with which :func:`keep_freed_memory` makes itself understood.
_FREED = 8 * 1024 * 1024

#: Bytes that the head of a piece has at most, up to its data.
HEAD_MAX = 2 + 9 + 1 + 5

#: A whole message, put together.
Joined: TypeAlias = bytearray | memoryview

#: Messages about how others are passed; none of them may be inside another.
BELOW = frozenset((Chunk, Invite, Memory, Lend, Release))

# A Chunk is an array of five, or of four where the size is left out.
_TAG = cast("int", Chunk.__struct_config__.tag)
_TAGS_BELOW = frozenset(kind.__struct_config__.tag for kind in BELOW)
_HEAD, _FIRST_HEAD = bytes([0x94, _TAG]), bytes([0x95, _TAG])
_FLAGS = {0xC2: False, 0xC3: True}
#: Bytes of integers and of binary lengths by their markers.
_INTEGERS = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}
_LENGTHS = {0xC4: 1, 0xC5: 2, 0xC6: 4}


class ChunkError(Exception):
    """The peer's chunks do not fit together or exceed what may be buffered."""


class Cutter:
    """An encoded message being sent in pieces of at most ``step`` bytes, all about alike."""

    __slots__ = ("_buffers", "_cid", "_step", "left", "size")

    def __init__(self, cid: int, frame: bytes | Gathered, step: int = CHUNK) -> None:
        if not frame or step < 1:
            raise ValueError(f"cannot cut {len(frame)} bytes into pieces of {step}")
        self._cid = cid
        self._buffers = deque(frame.buffers if isinstance(frame, Gathered) else (memoryview(frame),))
        # A little one at the end would cost as much as any other.
        self._step = -(-len(frame) // -(-len(frame) // step))
        #: Bytes of the whole message, and of what was not taken yet.
        self.size = self.left = len(frame)

    @property
    def begun(self) -> bool:
        """Whether a piece of it was taken."""
        return self.left < self.size

    def next(self) -> Chunk:
        """The next piece; ``last`` is set on the final one, and nothing may be asked for after it."""
        total = 0 if self.begun else self.size
        views = self._take()
        data = views[0] if len(views) == 1 else memoryview(b"".join(views))
        return Chunk(self._cid, not self.left, data, total)

    def next_gathered(self) -> tuple[bytes | memoryview, ...]:
        """The next piece, encoded in messagepack: buffers whose bytes are one frame."""
        begun = self.begun
        views = self._take()
        head = [_HEAD if begun else _FIRST_HEAD, msgspec.msgpack.encode(self._cid)]
        head += [b"\xc2" if self.left else b"\xc3", bin_head(sum(map(len, views)))]
        if begun:
            return (b"".join(head), *views)
        return (b"".join(head), *views, msgspec.msgpack.encode(self.size))

    def _take(self) -> list[memoryview]:
        wanted = min(self._step, self.left)
        if not wanted:
            raise IndexError("the last piece was taken")
        self.left -= wanted
        buffers, taken = self._buffers, []
        while wanted:
            buffer = buffers.popleft()
            if len(buffer) > wanted:
                buffers.appendleft(buffer[wanted:])
                buffer = buffer[:wanted]
            taken.append(buffer)
            wanted -= len(buffer)
        return taken


class Head(NamedTuple):
    """What an encoded piece says before its data, which starts at byte ``start``."""

    cid: int
    last: bool
    start: int


def read_head(frame: memoryview, length: int) -> Head | None:
    """The head of a piece from the first bytes of its frame of ``length`` bytes.

    None where that is something else, or a first piece, or not all there.
    """
    if len(frame) < HEAD_MAX or bytes(frame[:2]) != _HEAD:
        return None
    cid, at = frame[2], 3
    if cid >= 0x80:
        width = _INTEGERS.get(cid, 0)
        if not width:
            return None
        cid, at = int.from_bytes(frame[at : at + width], "big"), at + width
    last, width = _FLAGS.get(frame[at]), _LENGTHS.get(frame[at + 1], 0)
    start = at + 2 + width
    if last is None or not width or start + int.from_bytes(frame[at + 2 : start], "big") != length:
        return None
    return Head(cid, last, start)


class _Part:
    """An unfinished message: ``filled`` bytes of it are there, of ``total`` if the peer has said so."""

    __slots__ = ("body", "filled", "total")

    def __init__(self, total: int) -> None:
        self.total = total
        self.filled = 0
        self.body = _memory(total)

    @property
    def cost(self) -> int:
        return max(self.total, self.filled) + UNFINISHED

    def add(self, data: memoryview) -> None:
        if isinstance(self.body, bytearray) and not self.total:
            self.body += data
        else:
            memoryview(self.body)[self.filled : self.filled + len(data)] = data
        self.filled += len(data)


def _memory(total: int) -> Joined:
    if total <= LAZY_FROM:
        if total > CHUNK:
            keep_freed_memory()
        return bytearray(total)
    try:
        mapped = mmap.mmap(-1, total, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except (OSError, MemoryError) as error:
        raise ChunkError(f"no memory for a message of {total} bytes") from error
    if hasattr(mmap, "MADV_HUGEPAGE"):
        # A page of 4 KiB costs as much to get as to fill: 500 us for each MiB, with large pages 180.
        with suppress(OSError):  # where the kernel has none
            mapped.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(mapped)


@cache
def keep_freed_memory() -> None:
    """Have this process keep up to 16 MiB that it frees, for the next large message.

    glibc gives the end of its heap back to the kernel, and gets it again, page by page, for the next value:
    200 to 600 us of the millisecond or two that one of 1 MiB takes. What it keeps is twice the size of the
    largest block freed so far (mallopt(3), ``M_MMAP_THRESHOLD``), so a block that is never touched will do.
    Other allocators take no notice.
    """
    bytes(_FREED)


class Joiner:
    """Puts the chunks of one channel together.

    One message may have ``limit`` bytes. The largest unfinished one may always go on up to that; all
    others share ``budget`` bytes, each counted with :data:`UNFINISHED` more, and whole from its first
    piece on where that tells its size. So a peer makes this side hold ``limit + budget`` bytes at
    most, however small it cuts, however many it begins and whatever it says.
    """

    __slots__ = ("_budget", "_held", "_largest", "_limit", "_parts")

    def __init__(self, *, limit: int, budget: int) -> None:
        self._limit = limit
        self._budget = budget
        # Put together at once: pieces kept apart would pin the frames they came in, and cost a
        # hundred times their size where a peer cuts a message into single bytes.
        self._parts: dict[int, _Part] = {}
        self._held = 0
        self._largest = 0

    def add(self, chunk: Chunk) -> Joined | None:
        """Take a piece; the whole encoded message once its last piece is here, else None.

        Raises :class:`ChunkError` for an empty piece, for one that does not fit the size that was told, and
        when one message exceeds ``limit`` or the unfinished ones ``budget``; the channel cannot
        go on after that.
        """
        size = len(chunk.data)
        if not size:
            raise ChunkError("an empty piece of a message")
        part = self._parts.get(chunk.cid)
        total = chunk.size if part is None else part.total
        filled = size if part is None else part.filled + size
        if max(total, filled) > self._limit:
            raise ChunkError(f"message of more than {self._limit} bytes")
        if total and (filled > total or (chunk.last and filled < total)):
            raise ChunkError(f"{filled} bytes of a message of {total}")
        cost = max(total, filled) + UNFINISHED
        held = self._held + cost - (0 if part is None else part.cost)
        largest = max(self._largest, cost)
        if held - largest > self._budget:
            raise ChunkError(f"more than {self._budget} bytes of unfinished messages")
        if part is None:
            part = self._parts[chunk.cid] = _Part(total)
        part.add(chunk.data)
        self._held, self._largest = held, largest
        return self._whole(chunk.cid, part) if chunk.last else None

    def place(self, frame: memoryview, length: int) -> Place | None:
        """Where the data of a piece belongs, from the first bytes of its frame.

        None where it has no such place: then it goes to :meth:`add`, decoded. Nothing of the same dialog
        may come before the place is filled. What its ``finish`` returns is the whole message, as from
        :meth:`add`.
        """
        head = read_head(frame, length)
        part = None if head is None else self._parts.get(head.cid)
        if head is None or part is None:
            return None
        end = part.filled + length - head.start
        if length == head.start or end > part.total or head.last != (end == part.total):
            return None
        memory = memoryview(part.body)[part.filled : end]
        return Place(head.start, memory, partial(self._placed, head, part, end))

    def _placed(self, head: Head, part: _Part, end: int) -> Joined | None:
        part.filled = end
        if not head.last:
            return None
        if part.body[1] in _TAGS_BELOW and part.body[0] >> 4 == 0x9:
            raise ChunkError("a chunk inside a chunk, or what is about memory")
        return self._whole(head.cid, part)

    def drop(self, cid: int) -> None:
        """Forget what has arrived of a dialog's message."""
        part = self._parts.pop(cid, None)
        if part is None:
            return
        cost = part.cost
        self._held -= cost
        if cost == self._largest:
            self._largest = max((part.cost for part in self._parts.values()), default=0)

    def _whole(self, cid: int, part: _Part) -> Joined:
        self.drop(cid)
        return part.body
