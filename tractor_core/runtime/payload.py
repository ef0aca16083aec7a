"""How one dialog's payloads are decoded, prepared and checked."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec

from tractor_core.ipc.channel import Channel
from tractor_core.msg.codec import MsgCodec, applied_codec, mk_codec
from tractor_core.msg.namespace import ContextMark
from tractor_core.msg.signature import Signature


class Payloads:
    """The payload side of a codec.

    ``plain`` says whether values are encoded as the channel encodes any message, without another hook;
    ``typed`` whether a type restricts what may be sent, ``by_contract`` whether the dialog's own
    ``@context(...)`` says so, which no codec in force overrides.
    """

    __slots__ = ("by_contract", "codec", "decode", "plain", "typed")

    def __init__(
        self, codec: MsgCodec, *, plain: bool = True, typed: bool = False, by_contract: bool = False
    ) -> None:
        self.codec = codec
        self.decode = codec.dec.decode
        self.plain = plain
        self.typed = typed
        self.by_contract = by_contract

    def prepare(self, value: Any) -> Any:
        """What to put in a message: the value itself, or its encoding where a hook must see it."""
        return value if self.plain else self.codec.encode_payload(value)

    def check(self, value: Any) -> Any:
        """Prepare a value after a round trip; ``MsgTypeError`` where the peer would refuse it."""
        if not self.typed:
            return self.prepare(value)
        payload = self.codec.encode_payload(value)
        self.decode(payload)
        return payload

    def round_trip(self, value: Any) -> Any:
        """The value as it arrives at the peer."""
        return self.decode(self.codec.encode_payload(value))


def payloads_for(channel: Channel, mark: ContextMark | None = None) -> Payloads:
    """The payloads of a new dialog: by its contract, else by the codec in force in this task."""
    if mark is not None and (mark.pld_spec is not msgspec.UNSET or mark.enc_hook or mark.dec_hook):
        return _by_contract(mark, channel.codec)
    applied = channel.payload_codec or applied_codec()
    if applied is None:
        return _plain(channel.codec)
    codec = applied.atop(channel.codec)
    return Payloads(codec, plain=applied.plain, typed=codec.pld_spec is not Any)


def codec_in_force(channel: Channel) -> MsgCodec | None:
    """What ``apply_codec()`` put in force in this task, as it is over this channel; None for nothing.

    ``Channel.apply_codec()`` wins. The extension types of the tree are part of it.
    """
    applied = channel.payload_codec or applied_codec()
    return None if applied is None else applied.atop(channel.codec)


def result_decoder(channel: Channel, signature: Signature) -> Callable[[Any], Any]:
    """What decodes the result of a call: by the type in force, else by the function's annotation."""
    codec = codec_in_force(channel) or channel.codec
    if codec.pld_spec is not Any:
        return codec.decode_payload
    return signature.by(codec).decode_result


@lru_cache(maxsize=64)
def _plain(codec: MsgCodec) -> Payloads:
    return Payloads(codec)


@lru_cache(maxsize=1024)
def _by_contract(mark: ContextMark, codec: MsgCodec) -> Payloads:
    typed = mark.pld_spec is not msgspec.UNSET
    own = mk_codec(mark.pld_spec if typed else Any, enc_hook=mark.enc_hook, dec_hook=mark.dec_hook)
    return Payloads(own.atop(codec), plain=own.plain, typed=typed, by_contract=True)
