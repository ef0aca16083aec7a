"""Flow control of one direction of a stream: what the sender may send, what the receiver holds.

A value may go when credit for a message is left and either

- credit for its bytes is left, or
- more than half of the byte window is free: then it overdraws, whatever its size.

The receiver grants credit once half a window of messages or of bytes is owed. So when it has taken
everything, more than half of either is free at the sender and the next value may go: neither a
large value nor a tiny window can stop a stream for good.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec

from tractor_core.msg.types import Credit


class Window(msgspec.Struct, frozen=True):
    """How much may be under way before the receiver has taken some: messages, and bytes of payload."""

    messages: int = 64
    size: int = 8 * 1024 * 1024

    @property
    def valid(self) -> bool:
        """Whether a sender could ever send under it, and any language could count it."""
        return 0 < self.messages <= MAX_WINDOW and 0 < self.size <= MAX_WINDOW


#: Both sides assume this until the receiver's ``Open`` says otherwise.
DEFAULT_WINDOW = Window()

#: Largest window, in either measure: what a double can count, for peers that have no other number.
MAX_WINDOW: Final = 2**53 - 1

#: What a receiver may want done with a sender that is out of credit.
POLICIES: Final = ("raise", "block", "buffer")

#: A payload smaller than this is copied when it has to wait, so that it does not pin the whole read
#: it arrived in (64 KiB) for as long as nobody takes it.
COPY_BELOW = 4096


class SendWindow:
    """The sender's account of what it may still send."""

    __slots__ = ("_full", "messages", "policy", "size")

    def __init__(self, window: Window = DEFAULT_WINDOW) -> None:
        self._full = window
        self.messages = window.messages
        #: Bytes left; below zero after a value that overdrew.
        self.size = window.size
        #: The receiver's overflow policy; None until it has opened its half.
        self.policy: str | None = None

    def take(self, size: int) -> bool:
        """Use credit for one payload of ``size`` bytes; False, and nothing used, where there is none."""
        left = self.size
        if self.messages <= 0 or (size > left and 2 * left <= self._full.size):
            return False
        self.messages -= 1
        self.size = left - size
        return True

    def grant(self, messages: int, size: int) -> bool:
        """The receiver took that much; False where it never got as much."""
        under_way = self._full.messages - self.messages
        if not (0 <= messages <= under_way and 0 <= size <= self._full.size - self.size):
            return False
        self.messages += messages
        self.size += size
        return True

    def open(self, window: Window, policy: str) -> None:
        """The receiver opened its half with a window of its own: what is under way stays under way."""
        self.messages += window.messages - self._full.messages
        self.size += window.size - self._full.size
        self._full = window
        self.policy = policy


class ReceiveBuffer:
    """What has arrived and was not yet taken, and the credit owed for what was."""

    __slots__ = (
        "_batch",
        "_most",
        "_owed_messages",
        "_owed_size",
        "_unbounded",
        "_unpaid_messages",
        "_unpaid_size",
        "values",
        "window",
    )

    def __init__(self, window: Window = DEFAULT_WINDOW) -> None:
        self.window = window
        self.values: deque[tuple[msgspec.Raw, int]] = deque()
        self._batch = max(1, window.messages // 2)
        #: The most that a sender can have under way: it may not have seen ``window`` yet.
        self._most = window
        self._unbounded = False
        # What arrived and was not granted again, and the part of it that a grant is due for.
        self._unpaid_messages = 0
        self._unpaid_size = 0
        self._owed_messages = 0
        self._owed_size = 0

    def open(self, window: Window, *, unbounded: bool) -> None:
        """Settle this side's window; ``unbounded`` grants credit on arrival instead of on taking.

        A grant may be due afterwards, for what arrived before.
        """
        self._most = Window(max(window.messages, self.window.messages), max(window.size, self.window.size))
        self.window = window
        self._batch = max(1, window.messages // 2)
        self._unbounded = unbounded
        if unbounded:
            self._owed_messages = self._unpaid_messages
            self._owed_size = self._unpaid_size

    def put(self, payload: msgspec.Raw) -> bool:
        """Keep an arrived payload; False where the peer had no credit for it: a violation, not slowness."""
        size = len(memoryview(payload))
        most = self._most
        left = most.size - self._unpaid_size
        if self._unpaid_messages >= most.messages or (size > left and 2 * left <= most.size):
            return False
        self._unpaid_messages += 1
        self._unpaid_size += size
        if size < COPY_BELOW:
            payload = payload.copy()
        self.values.append((payload, size))
        if self._unbounded:
            self._owed_messages += 1
            self._owed_size += size
        return True

    def take(self) -> msgspec.Raw:
        """The oldest payload; ``IndexError`` when there is none."""
        payload, size = self.values.popleft()
        if not self._unbounded:
            self._owed_messages += 1
            self._owed_size += size
        return payload

    def credit(self, cid: int) -> Credit | None:
        """The grant to send now, if half a window is owed."""
        messages, size = self._owed_messages, self._owed_size
        if messages < self._batch and size * 2 < self.window.size:
            return None
        self._unpaid_messages -= messages
        self._unpaid_size -= size
        self._owed_messages = self._owed_size = 0
        return Credit(cid, messages, size)
