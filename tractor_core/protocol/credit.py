"""Flow control of one direction of a stream: what the sender may send, what the receiver holds.

A value may go when credit for a message is left and either

- credit for its bytes is left, or
- more than half of the byte window is free: then it overdraws, whatever its size.

The receiver grants credit once half a window of messages or of bytes is owed. So when it has taken
everything, more than half of either is free at the sender and the next value may go: neither a
large value nor a tiny window can stop a stream for good.

All streams of a channel share one :class:`Account`, so that many of them cannot add up to more than the
receiver is willing to hold.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
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

#: What a waiting value costs besides its bytes, about: a flood of tiny ones is mostly this.
VALUE_COST = 128

#: Smallest window that many open streams leave to the next one (bytes): still worth a system call.
LEAST_WINDOW = 64 * 1024


class OverBudget(Exception):
    """A stream's value found the channel's account full: that stream cannot go on."""


class Account:
    """What the streams of one channel may hold at the receiver, together ``budget`` bytes.

    Windows get smaller the more of it is promised to open streams, so that peers which keep to theirs
    do not reach the budget. Who does reach it loses the stream that did, and no other. So that one stream
    cannot starve the rest, each may hold ``reserve`` bytes whatever the others do; and so
    that a single value may be larger than everything else together, one is kept outside of the account.
    """

    __slots__ = ("_promised", "_reserve", "budget", "held", "outside")

    def __init__(self, budget: int, reserve: int = 0) -> None:
        self.budget = budget
        #: Bytes held now, each value counted with ``VALUE_COST`` more.
        self.held = 0
        #: The one value that is held and not counted.
        self.outside: msgspec.Raw | None = None
        self._reserve = reserve
        self._promised = 0

    @property
    def tight(self) -> bool:
        """Whether more than half is used: no time for granting credit that nobody has earned."""
        return 2 * self.held > self.budget

    def share(self, most: int) -> int:
        """The byte window for one more stream, whose share would be ``most`` if it were alone."""
        most = min(most, self.budget)
        return max(min(most, LEAST_WINDOW), most * (self.budget - self._promised) // self.budget)

    def promise(self, size: int) -> None:
        """A window of ``size`` bytes was announced (or, where negative, is closed)."""
        self._promised += size

    def charge(self, payload: msgspec.Raw, cost: int, own: Callable[[], int]) -> None:
        """Take in a value that the budget has no room for, or raise :class:`OverBudget`.

        ``own`` counts what its stream holds already.
        """
        if self.outside is None:
            self.outside = payload
        elif own() + cost <= self._reserve:
            self.held += cost
        else:
            raise OverBudget(f"{self.held} bytes of stream values wait already")


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
        "_account",
        "_batch",
        "_most",
        "_owed_messages",
        "_owed_size",
        "_promised",
        "_unbounded",
        "_unpaid_messages",
        "_unpaid_size",
        "due",
        "values",
        "window",
    )

    def __init__(self, window: Window = DEFAULT_WINDOW, account: Account | None = None) -> None:
        self.window = window
        self._account = account or Account(MAX_WINDOW)
        self._promised = 0
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
        #: Whether half a window is owed: ask for :meth:`credit`.
        self.due = False

    def open(self, window: Window, *, unbounded: bool) -> None:
        """Settle this side's window; ``unbounded`` grants credit on arrival instead of on taking.

        It does so until the account is half used: then it waits for this stream to be read. A grant may
        be due afterwards, for what arrived before.
        """
        self._promised = window.size
        self._account.promise(window.size)
        self._most = Window(max(window.messages, self.window.messages), max(window.size, self.window.size))
        self.window = window
        self._batch = max(1, window.messages // 2)
        self._unbounded = unbounded
        if unbounded:
            self._owed_messages = self._unpaid_messages
            self._owed_size = self._unpaid_size
        self.due = self._owed_messages >= self._batch or self._owed_size * 2 >= window.size

    def put(self, payload: msgspec.Raw) -> bool:
        """Keep an arrived payload; False where the peer had no credit for it: a violation, not slowness.

        :class:`OverBudget`, and nothing kept, where the channel holds too much already.
        """
        size = len(memoryview(payload))
        most = self._most
        left = most.size - self._unpaid_size
        if self._unpaid_messages >= most.messages or (size > left and 2 * left <= most.size):
            return False
        if size < COPY_BELOW:
            payload = payload.copy()
        account = self._account
        cost = size + VALUE_COST
        if account.held + cost > account.budget:
            account.charge(payload, cost, self._cost)
        else:
            account.held += cost
        self._unpaid_messages += 1
        self._unpaid_size += size
        self.values.append((payload, size))
        if self._unbounded:
            self._owe(size)
        return True

    def take(self) -> msgspec.Raw:
        """The oldest payload; ``IndexError`` when there is none."""
        payload, size = self.values.popleft()
        account = self._account
        if payload is account.outside:
            account.outside = None
        else:
            account.held -= size + VALUE_COST
        if not self._unbounded:
            # As `_owe`, without the call.
            self._owed_messages = owed = self._owed_messages + 1
            self._owed_size += size
            if owed >= self._batch or self._owed_size * 2 >= self.window.size:
                self.due = True
        return payload

    def _owe(self, size: int) -> None:
        self._owed_messages += 1
        self._owed_size += size
        if self._owed_messages >= self._batch or self._owed_size * 2 >= self.window.size:
            self.due = True

    def credit(self, cid: int) -> Credit | None:
        """The grant to send now, if half a window is owed."""
        if not self.due or (self._unbounded and self.values and self._account.tight):
            return None
        messages, size = self._owed_messages, self._owed_size
        self._unpaid_messages -= messages
        self._unpaid_size -= size
        self._owed_messages = self._owed_size = 0
        self.due = False
        return Credit(cid, messages, size)

    def release(self) -> None:
        """Nobody will read it any more: drop what is held, and the window's share of the account."""
        account = self._account
        for payload, size in self.values:
            if payload is account.outside:
                account.outside = None
            else:
                account.held -= size + VALUE_COST
        self.values.clear()
        account.promise(-self._promised)
        self._promised = 0

    def _cost(self) -> int:
        outside = self._account.outside
        return sum(size + VALUE_COST for payload, size in self.values if payload is not outside)
