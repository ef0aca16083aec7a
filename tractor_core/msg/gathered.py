"""Messages that hold large buffers, encoded around these instead of with a copy of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from struct import Struct
from typing import Any, Final

import msgspec
from msgspec import Raw

from .types import Message, PayloadMsg, Start

#: Buffers longer than this (bytes) are left where they are.
LARGE: Final = 128 * 1024

#: What messagepack can say the length of.
_LONGEST = 2**32 - 1
#: How many items of a list or a dict are looked at, and how deep: the look must cost next to nothing.
_ITEMS = 16
_DEPTH = 2

_MAY_HOLD_LARGE = frozenset((bytes, memoryview, Raw, list, tuple, dict))

_BIN_32 = Struct(">BI")


def bin_head(size: int) -> bytes:
    """What comes before ``size`` bytes of binary data in messagepack."""
    return _BIN_32.pack(0xC6, size)


class Gathered:
    """An encoded message in several buffers: its bytes are theirs, one after the other."""

    __slots__ = ("_size", "buffers")

    def __init__(self, buffers: Sequence[bytes | memoryview]) -> None:
        self.buffers = [memoryview(buffer).cast("B") for buffer in buffers if len(buffer)]
        self._size = sum(map(len, self.buffers))

    def __len__(self) -> int:
        """Bytes of the whole message."""
        return self._size

    def __bytes__(self) -> bytes:
        return b"".join(self.buffers)


def may_gather(message: Message) -> bool:
    """Whether :func:`gather` could find something: quick, and wrong in one direction only."""
    if isinstance(message, PayloadMsg):
        value: Any = message.pld
        kind = type(value)
        if kind not in _MAY_HOLD_LARGE:
            return False
        return len(value) > LARGE if kind is bytes else _value_may_hold(value, kind)
    if type(message) is not Start:
        return False
    args: Any = message.args
    kwargs: Any = message.kwargs
    if type(args) is Raw or type(kwargs) is Raw:
        return True
    # Arguments are few, and mostly small things: 0.15 us instead of the 3 us that a closer look costs.
    for value in (*args, *kwargs.values()):  # noqa: SIM110  (any() would double that)
        if type(value) in _MAY_HOLD_LARGE:
            return True
    return False


def _value_may_hold(value: Any, kind: type) -> bool:
    if kind is memoryview or kind is Raw:
        return True
    # Values of a stream are small things, mostly: 0.3 us for a short list of them instead of 2 us.
    return len(value) <= _ITEMS and not _MAY_HOLD_LARGE.isdisjoint(
        map(type, value.values() if kind is dict else value)
    )


def gather(message: Message, encode: Callable[[Message], bytes]) -> Gathered | None:
    """Encode a message in messagepack, leaving out its large buffers; None where there are none.

    Only what cannot change is left where it is: ``bytes``, views of ``bytes``, and what is encoded already.
    ``encode`` gets the message with marks in their places, and raises what it does.
    """
    lift = _Lift()
    if isinstance(message, PayloadMsg):
        marked = {"pld": lift.value(message.pld)}
    elif isinstance(message, Start):
        marked = {"args": lift.value(message.args), "kwargs": lift.value(message.kwargs)}
    else:
        return None
    if not lift.buffers:
        return None
    pieces = encode(msgspec.structs.replace(message, **marked)).split(lift.mark)
    if len(pieces) != len(lift.buffers) + 1:
        return None  # the mark, which nobody can guess, was in the message
    buffers: list[bytes | memoryview] = [pieces[0]]
    for buffer, piece in zip(lift.buffers, pieces[1:], strict=True):
        buffers += (buffer, piece)
    return Gathered(buffers)


class _Lift:
    """Takes large buffers out of a value, in the order in which they are encoded."""

    def __init__(self) -> None:
        self.buffers: list[memoryview] = []
        self.mark = b""

    def value(self, value: Any, depth: int = _DEPTH) -> Any:
        """The value with a mark for each large buffer; itself where it has none."""
        kind = type(value)
        if kind is bytes or kind is memoryview or kind is Raw:
            return self._buffer(value)
        if not depth or kind not in _MAY_HOLD_LARGE or len(value) > _ITEMS:
            return value
        before = len(self.buffers)
        if kind is dict:
            items = {key: self.value(item, depth - 1) for key, item in value.items()}
            return items if len(self.buffers) > before else value
        found = [self.value(item, depth - 1) for item in value]
        return found if len(self.buffers) > before else value

    def _buffer(self, value: bytes | memoryview | Raw) -> Any:
        view = memoryview(value)
        if not LARGE < view.nbytes <= _LONGEST or not _is_constant(view, value):
            return value
        self.mark = self.mark or os.urandom(16)
        self.buffers.append(view)
        return Raw(self.mark if type(value) is Raw else bin_head(view.nbytes) + self.mark)


def _is_constant(view: memoryview, value: object) -> bool:
    if type(value) is Raw:
        return True  # what was received or encoded for the runtime is never written to again
    return view.readonly and type(view.obj) is bytes and view.c_contiguous
