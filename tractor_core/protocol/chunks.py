"""Messages too large to go at once: cut into pieces at the sender, put together at the receiver."""

from __future__ import annotations

from tractor_core.msg.types import Chunk

#: Bytes of message in one chunk: small enough that a small frame does not wait long behind it.
CHUNK = 64 * 1024

#: A message up to this size goes as one frame; see docs/explanation for the measurements.
WHOLE_UP_TO = 128 * 1024

#: Bytes that an unfinished message counts for besides its own: about what keeping track of one costs.
UNFINISHED = 512


class ChunkError(Exception):
    """The peer's chunks do not fit together or exceed what may be buffered."""


class Cutter:
    """An encoded message being sent in pieces of ``step`` bytes, the last one possibly shorter."""

    __slots__ = ("_body", "_cid", "_offset", "_step")

    def __init__(self, cid: int, frame: bytes, step: int = CHUNK) -> None:
        if not frame or step < 1:
            raise ValueError(f"cannot cut {len(frame)} bytes into pieces of {step}")
        self._cid = cid
        self._body = memoryview(frame)
        self._offset = 0
        self._step = step

    @property
    def size(self) -> int:
        """Bytes of the whole message."""
        return len(self._body)

    @property
    def begun(self) -> bool:
        """Whether a piece of it was taken."""
        return self._offset > 0

    def next(self) -> Chunk:
        """The next piece; ``last`` is set on the final one, and nothing may be asked for after it."""
        start = self._offset
        if start >= len(self._body):
            raise IndexError("the last piece was taken")
        self._offset = start + self._step
        return Chunk(self._cid, self._offset >= len(self._body), self._body[start : self._offset])


class Joiner:
    """Puts the chunks of one channel together.

    One message may have ``limit`` bytes. The largest unfinished one may always go on up to that; all
    others share ``budget`` bytes, each counted with :data:`UNFINISHED` more. So a peer makes
    this side hold ``limit + budget`` bytes at most, however small it cuts and however many it begins.
    """

    __slots__ = ("_budget", "_held", "_largest", "_limit", "_parts")

    def __init__(self, *, limit: int, budget: int) -> None:
        self._limit = limit
        self._budget = budget
        # Copied together at once: pieces kept apart would pin the frames they came in, and cost a
        # hundred times their size where a peer cuts a message into single bytes.
        self._parts: dict[int, bytearray] = {}
        self._held = 0
        self._largest = 0

    def add(self, chunk: Chunk) -> bytearray | None:
        """Take a piece; the whole encoded message once its last piece is here, else None.

        Raises :class:`ChunkError` for an empty piece, and when one message exceeds ``limit`` or the
        unfinished ones ``budget``; the channel cannot go on after that.
        """
        cid = chunk.cid
        size = len(chunk.data)
        if not size:
            raise ChunkError("an empty piece of a message")
        body = self._parts.get(cid)
        begun = 0 if body is None else len(body)
        if begun + size > self._limit:
            raise ChunkError(f"message of more than {self._limit} bytes")
        added = size if begun else size + UNFINISHED
        largest = max(self._largest, begun + size + UNFINISHED)
        if self._held + added - largest > self._budget:
            raise ChunkError(f"more than {self._budget} bytes of unfinished messages")
        if body is None:
            body = self._parts[cid] = bytearray()
        body += chunk.data
        self._held += added
        self._largest = largest
        if not chunk.last:
            return None
        self.drop(cid)
        return body

    def drop(self, cid: int) -> None:
        """Forget what has arrived of a dialog's message."""
        body = self._parts.pop(cid, None)
        if body is None:
            return
        cost = len(body) + UNFINISHED
        self._held -= cost
        if cost == self._largest:
            self._largest = max(map(len, self._parts.values()), default=-UNFINISHED) + UNFINISHED
