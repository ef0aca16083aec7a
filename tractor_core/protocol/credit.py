"""Flow control of one direction of a stream: what the sender may send, what the receiver holds."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import msgspec

from tractor_core.msg.types import Credit


@dataclass(frozen=True, slots=True)
class Window:
    """How much may be under way before the receiver has taken some: messages, and bytes of payload."""

    messages: int = 64
    size: int = 8 * 1024 * 1024


#: Both sides assume this until the receiver's ``Open`` says otherwise.
DEFAULT_WINDOW = Window()

#: A payload smaller than this is copied when it has to wait, so that it does not pin the whole read
#: it arrived in (64 KiB) for as long as nobody takes it.
COPY_BELOW = 4096


class SendWindow:
    """The sender's account of what it may still send."""

    __slots__ = ("_full", "messages", "policy", "size")

    def __init__(self, window: Window = DEFAULT_WINDOW) -> None:
        self._full = window
        self.messages = window.messages
        self.size = window.size
        #: The receiver's overflow policy; None until it has opened its half.
        self.policy: str | None = None

    def take(self, size: int) -> bool:
        """Use credit for one payload of ``size`` bytes; False, and nothing used, where there is none.

        A payload larger than the whole window may go when nothing else is under way.
        """
        if self.messages <= 0:
            return False
        if size > self.size and self.size < self._full.size:
            return False
        self.messages -= 1
        self.size -= size
        return True

    def grant(self, messages: int, size: int) -> None:
        """The receiver took that much."""
        self.messages += messages
        self.size += size

    def open(self, window: Window, policy: str) -> None:
        """The receiver opened its half with a window of its own: what is under way stays under way."""
        self.messages += window.messages - self._full.messages
        self.size += window.size - self._full.size
        self._full = window
        self.policy = policy


class ReceiveBuffer:
    """What has arrived and was not yet taken, and the credit owed for what was."""

    __slots__ = ("_batch", "_owed_messages", "_owed_size", "_unbounded", "values", "window")

    def __init__(self, window: Window = DEFAULT_WINDOW) -> None:
        self.window = window
        self.values: deque[tuple[msgspec.Raw, int]] = deque()
        self._owed_messages = 0
        self._owed_size = 0
        self._unbounded = False
        self._batch = max(1, window.messages // 2)

    def open(self, window: Window, *, unbounded: bool) -> None:
        """Settle this side's window; ``unbounded`` grants credit on arrival instead of on taking."""
        self.window = window
        self._batch = max(1, window.messages // 2)
        self._unbounded = unbounded
        if unbounded:
            self._owed_messages += len(self.values)
            self._owed_size += sum(size for _, size in self.values)

    def put(self, payload: msgspec.Raw) -> None:
        """Keep an arrived payload."""
        size = len(memoryview(payload))
        if size < COPY_BELOW:
            payload = payload.copy()
        self.values.append((payload, size))
        if self._unbounded:
            self._owed_messages += 1
            self._owed_size += size

    def take(self) -> msgspec.Raw:
        """The oldest payload; ``IndexError`` when there is none."""
        payload, size = self.values.popleft()
        if not self._unbounded:
            self._owed_messages += 1
            self._owed_size += size
        return payload

    def overrun(self) -> bool:
        """Whether the peer sent more than it was ever granted: a violation, not slowness."""
        return not self._unbounded and len(self.values) > self.window.messages + DEFAULT_WINDOW.messages

    def credit(self, cid: int) -> Credit | None:
        """The grant to send now, if half a window has been taken since the last."""
        if self._owed_messages < self._batch and self._owed_size * 2 < self.window.size:
            return None
        grant = Credit(cid, self._owed_messages, self._owed_size)
        self._owed_messages = self._owed_size = 0
        return grant
