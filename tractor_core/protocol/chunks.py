"""Messages too large to go at once: cut into pieces at the sender, put together at the receiver."""

from __future__ import annotations

from tractor_core.msg.types import Chunk

#: Bytes of message in one chunk: small enough that a small frame does not wait long behind it.
CHUNK = 64 * 1024

#: A message up to this size goes as one frame; see docs/explanation for the measurements.
WHOLE_UP_TO = 128 * 1024


class ChunkError(Exception):
    """The peer's chunks do not fit together or exceed what may be buffered."""


class Cutter:
    """An encoded message being sent in pieces."""

    __slots__ = ("_body", "_cid", "_offset", "_step")

    def __init__(self, cid: int, frame: bytes, step: int = CHUNK) -> None:
        self._cid = cid
        self._body = memoryview(frame)
        self._offset = 0
        self._step = step

    def next(self) -> Chunk:
        """The next piece; ``last`` is set on the final one."""
        start = self._offset
        self._offset = start + self._step
        return Chunk(self._cid, self._offset >= len(self._body), self._body[start : self._offset])


class Joiner:
    """Puts the chunks of one channel together, under a budget of bytes."""

    __slots__ = ("_budget", "_held", "_limit", "_parts", "_sizes")

    def __init__(self, *, limit: int, budget: int) -> None:
        self._limit = limit
        self._budget = budget
        self._held = 0
        self._parts: dict[int, list[memoryview]] = {}
        self._sizes: dict[int, int] = {}

    def add(self, chunk: Chunk) -> bytes | None:
        """Take a piece; the whole encoded message once its last piece is here, else None.

        Raises :class:`ChunkError` when one message exceeds ``limit`` or all together ``budget``.
        """
        size = len(chunk.data)
        total = self._sizes.get(chunk.cid, 0) + size
        if total > self._limit:
            raise ChunkError(f"message of more than {self._limit} bytes")
        if self._held + size > self._budget and self._held > self._sizes.get(chunk.cid, 0):
            # One message alone may use up to its own limit; several share the budget.
            raise ChunkError(f"more than {self._budget} bytes of unfinished messages")
        parts = self._parts.setdefault(chunk.cid, [])
        parts.append(chunk.data)
        self._sizes[chunk.cid] = total
        self._held += size
        if not chunk.last:
            return None
        self.drop(chunk.cid)
        return b"".join(parts)

    def drop(self, cid: int) -> None:
        """Forget what has arrived of a dialog's message."""
        self._parts.pop(cid, None)
        self._held -= self._sizes.pop(cid, 0)
