"""Every bound on what a peer can make this actor hold, wait for or do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from tractor_core.msg.types import Bounds
from tractor_core.protocol.chunks import WHOLE_UP_TO

_KIB = 1024
_MIB = 1024 * _KIB

# The length prefix of byte-stream transports has 32 bits.
_LARGEST_FRAME = 2**32 - 1

# What any language can count.
_LARGEST_COUNT = 2**53 - 1

# A handshake frame must at least hold a Hello with the longest name that is allowed.
_SMALLEST_FRAME = 4 * _KIB

# 0 is "none at all" here, and nonsense elsewhere.
_MAY_BE_NONE = ("shared_memory",)


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds, inherited by children. Sizes in bytes, times in seconds.

    ``ValueError`` names the field that makes no sense. Hitting one of them is an error for the
    peer that hit it and for no one else.
    """

    #: From accepting to authenticated. Two round trips; generous for a loaded host, and what a
    #: silent peer can hold a slot for. An actor that computes meanwhile looks some more times before it
    #: refuses.
    handshake_timeout: float = 5.0
    #: Largest frame taken from a peer that has proved nothing. A Hello has some 150 bytes.
    max_handshake_frame: int = 64 * _KIB
    #: Largest frame taken from an authenticated peer; at least the 128 KiB up to which senders do not split.
    max_frame: int = 16 * _MIB
    #: Largest message, reassembled from chunks; beyond it the sender gets ``MsgTooLarge``. Peers are told.
    max_payload: int = 1024 * _MIB
    #: Connections one listener holds at once; beyond it the oldest unauthenticated one is dropped.
    #: 500 silent peers were measured to cost 2.9 MB.
    max_connections: int = 1024
    #: Dialogs open at once on one channel. About 1 KB each, so some 100 MB at worst.
    max_dialogs: int = 100_000
    #: Bytes that wait on one channel, of each kind: unfinished chunks; stream values that nobody takes,
    #: beyond which the stream ends; large messages to a peer that does not read, beyond which their
    #: senders wait; small ones, and results, beyond which its calls are refused; answers, beyond which
    #: the channel is closed. A quarter of the largest message would not do on a small host, the usual
    #: window times a few dozen streams does.
    max_buffered: int = 256 * _MIB
    #: Receive window of one direction of a stream: this many messages (four times as many under a policy that
    #: lets the sender wait) ...
    window_messages: int = 64
    #: ... or this many bytes, whichever is reached first. 1 MiB halves the rate of 1 MiB values.
    window_bytes: int = 8 * _MIB
    #: How long a sender without credit waits under the policy "raise" before ``StreamOverrun``. With none
    #: at all a consumer that always keeps up is overrun after exactly one window.
    overrun_grace: float = 0.25
    #: How long a cancel request waits to be acknowledged.
    cancel_timeout: float = 0.5
    #: Memory in which large messages are lent to another process of this host, each way on each
    #: channel, made when the first is sent; 0: they are sent like all others. Two dozen of 1 MiB are enough
    #: for the window of a stream and what waits to be given back.
    shared_memory: int = 32 * _MIB

    def __post_init__(self) -> None:
        for name, default in zip(self.__struct_fields__, self.__struct_defaults__, strict=True):
            _check(name, getattr(self, name), whole=isinstance(default, int), zero=name in _MAY_BE_NONE)
        for name, least in (("max_handshake_frame", _SMALLEST_FRAME), ("max_frame", WHOLE_UP_TO)):
            if not least <= getattr(self, name) <= _LARGEST_FRAME:
                raise ValueError(f"{name} must be between {least} and {_LARGEST_FRAME} bytes")
        if self.max_frame < self.max_handshake_frame:
            raise ValueError("max_frame must not be below max_handshake_frame")
        for name in ("max_payload", "max_buffered", "shared_memory"):
            value = getattr(self, name)
            if value and not _SMALLEST_FRAME <= value <= _LARGEST_COUNT:
                raise ValueError(f"{name} must be between {_SMALLEST_FRAME} and {_LARGEST_COUNT} bytes")

    @property
    def bounds(self) -> Bounds:
        """What peers are told of them, so that they do not send what would be refused."""
        return Bounds(self.max_frame, self.max_payload, self.max_buffered, self.shared_memory)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a ``Bootstrap``; ``Limits.from_dict`` is the way back."""
        return msgspec.structs.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Limits:
        """From plain values; what is left out has its default. ``ValueError`` lists unknown names."""
        known = set(cls.__struct_fields__)
        if unknown := sorted(set(values) - known):
            raise ValueError(f"no such limits: {', '.join(unknown)} (there are: {', '.join(sorted(known))})")
        return cls(**values)


def _check(name: str, value: Any, *, whole: bool, zero: bool) -> None:
    """Refuse what is not a positive number of the right kind, nor a ``zero`` that is allowed."""
    allowed = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, allowed):
        raise ValueError(f"{name} must be {'a whole number' if whole else 'a number'}, not {value!r}")
    if math.isnan(value) or value < 0 or (value == 0 and not zero):
        raise ValueError(f"{name} must be above zero, not {value!r}")
