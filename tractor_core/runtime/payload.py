"""How one dialog's payloads are decoded, prepared and checked."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

import msgspec

from tractor_core.ipc.channel import Channel
from tractor_core.msg.codec import MsgCodec, current_codec, mk_codec, wire_codec
from tractor_core.msg.namespace import ContextMark
from tractor_core.msg.payload import CodecName


class Payloads:
    """The payload side of a codec.

    ``typed`` says whether a type restricts what may be sent, ``by_contract`` whether the dialog's own
    ``@context(...)`` says so, which no codec in force overrides.
    """

    __slots__ = ("_codec", "by_contract", "decode", "typed")

    def __init__(self, codec: MsgCodec, *, typed: bool = False, by_contract: bool = False) -> None:
        self._codec = codec
        self.decode = codec.dec.decode
        self.typed = typed
        self.by_contract = by_contract

    @property
    def plain(self) -> bool:
        """Whether values are encoded like any message, without a hook."""
        return self._codec.plain

    def prepare(self, value: Any) -> Any:
        """What to put in a message: the value itself, or its encoding where a hook must see it."""
        return value if self._codec.plain else self._codec.encode_payload(value)

    def check(self, value: Any) -> Any:
        """Prepare a value after a round trip; ``MsgTypeError`` where the peer would refuse it."""
        if not self.typed:
            return self.prepare(value)
        payload = self._codec.encode_payload(value)
        self.decode(payload)
        return payload

    def round_trip(self, value: Any) -> Any:
        """The value as it arrives at the peer."""
        return self.decode(self._codec.encode_payload(value))


def payloads_for(channel: Channel, mark: ContextMark | None = None) -> Payloads:
    """The payloads of a new dialog: by its contract, else by the codec in force in this task."""
    name = channel.codec.name
    if mark is not None and (mark.pld_spec is not msgspec.UNSET or mark.enc_hook or mark.dec_hook):
        return _by_contract(mark, name)
    codec = codec_in_force(channel)
    return _plain(name) if codec is None else Payloads(codec, typed=codec.pld_spec is not Any)


def codec_in_force(channel: Channel) -> MsgCodec | None:
    """What ``apply_codec()`` put in force in this task, in the channel's encoding; None for nothing.

    ``Channel.apply_codec()`` wins.
    """
    codec = channel.payload_codec or current_codec()
    return None if codec is _DEFAULT else codec.over(channel.codec.name)


_DEFAULT = wire_codec("msgpack")


@cache
def _plain(name: CodecName) -> Payloads:
    return Payloads(wire_codec(name))


@lru_cache(maxsize=1024)
def _by_contract(mark: ContextMark, name: CodecName) -> Payloads:
    typed = mark.pld_spec is not msgspec.UNSET
    spec = mark.pld_spec if typed else Any
    codec = mk_codec(spec, enc_hook=mark.enc_hook, dec_hook=mark.dec_hook, name=name)
    return Payloads(codec, typed=typed, by_contract=True)
