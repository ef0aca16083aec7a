"""How one dialog's payloads are decoded, prepared and checked."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from tractor_core.ipc.channel import Channel
from tractor_core.msg.codec import MsgCodec, current_codec, mk_codec, wire_codec
from tractor_core.msg.namespace import ContextMark
from tractor_core.msg.payload import CodecName


class Payloads:
    """The payload side of a codec. ``typed`` says whether a contract restricts what may be sent."""

    __slots__ = ("_codec", "decode", "typed")

    def __init__(self, codec: MsgCodec, *, typed: bool = False) -> None:
        self._codec = codec
        self.decode = codec.dec.decode
        self.typed = typed

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
    codec = current_codec()
    if codec is wire_codec("msgpack"):
        return _plain(name)
    return Payloads(codec.over(name), typed=codec.pld_spec is not Any)


@lru_cache(maxsize=None)
def _plain(name: CodecName) -> Payloads:
    return Payloads(wire_codec(name))


@lru_cache(maxsize=1024)
def _by_contract(mark: ContextMark, name: CodecName) -> Payloads:
    typed = mark.pld_spec is not msgspec.UNSET
    spec = mark.pld_spec if typed else Any
    return Payloads(mk_codec(spec, enc_hook=mark.enc_hook, dec_hook=mark.dec_hook, name=name), typed=typed)
