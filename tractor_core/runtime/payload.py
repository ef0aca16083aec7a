"""How one dialog's payloads are decoded, and checked before they are sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from tractor_core.errors import MsgTypeError
from tractor_core.msg.codec import MsgCodec


class PayloadCodec:
    """Decodes payloads of one type for one peer; ``spec`` of None takes anything."""

    __slots__ = ("_codec", "_decode", "spec")

    def __init__(self, codec: MsgCodec, spec: Any = None, dec_hook: Callable[..., Any] | None = None) -> None:
        self._codec = codec
        self.spec = spec
        self._decode = codec.payload_decoder(Any if spec is None else spec, dec_hook)

    def decode(self, payload: msgspec.Raw) -> Any:
        """The value; ``MsgTypeError`` where it is not what the contract says."""
        try:
            return self._decode(payload)
        except msgspec.ValidationError as error:
            raise self._mismatch(str(error), payload) from None

    def check(self, value: Any) -> None:
        """``MsgTypeError`` where the peer would refuse this value: found by a round trip."""
        if self.spec is None:
            return
        payload = msgspec.Raw(self._codec.encode_payload(value))
        try:
            self._decode(payload)
        except msgspec.ValidationError as error:
            raise self._mismatch(str(error), payload, value) from None

    def _mismatch(self, text: str, payload: msgspec.Raw, value: Any = None) -> MsgTypeError:
        message, _, place = text.partition(" - at `")
        path = place.rstrip("`") or "$"
        bad = value if value is not None else self._codec.payload_decoder(Any, None)(payload)
        return MsgTypeError(
            f"{message} (at {path}, by the contract {self.spec!r})",
            bad_msg=repr(bad)[:200],
            expected_msg_type=self.spec,
            path=path,
        )
