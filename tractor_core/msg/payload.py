"""Payloads: what their type is, and how one is decoded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, TypeAlias, cast

import msgspec
from msgspec import Raw

from .paths import mismatch

#: The two encodings; the handshake settles which one a channel uses.
CodecName: TypeAlias = Literal["msgpack", "json"]
CODEC_NAMES: Final[tuple[CodecName, ...]] = ("msgpack", "json")

EncHook: TypeAlias = Callable[[Any], Any]
DecHook: TypeAlias = Callable[[type, Any], Any]
Encoded: TypeAlias = bytes | bytearray | memoryview | Raw


class MsgDec:
    """Decodes payloads of one type, ``spec``. Immutable; made by :func:`mk_dec`."""

    __slots__ = ("_decode", "_types", "name")

    def __init__(self, name: CodecName, types: PayloadTypes) -> None:
        self.name: Final = name
        self._types: Final = types
        self._decode = types.decoder(name, types.spec)

    @property
    def spec(self) -> Any:
        """The type that payloads must have."""
        return self._types.spec

    def decode(self, raw: Encoded, what: str = "payload") -> Any:
        """The value; ``MsgTypeError`` naming the path inside it when it is not of type ``spec``.

        ``what`` names it in the error's text.
        """
        try:
            return self._decode(raw)
        except MemoryError:
            raise
        except Exception as error:
            decode_any = self._types.decoder(self.name, Any)
            raise mismatch(error, raw, subject=what, expected=self.spec, decode_any=decode_any) from error

    def over(self, name: CodecName) -> MsgDec:
        """The same type and hooks in another encoding (or this one)."""
        return self if name == self.name else MsgDec(name, self._types)

    def __repr__(self) -> str:
        return f"<MsgDec {self.name} spec={self.spec}>"


class PayloadTypes:
    """What a codec knows of payloads, apart from the encoding: their type, and hooks for what
    msgspec does not know. Immutable."""

    def __init__(
        self,
        spec: Any = Any,
        enc_hook: EncHook | None = None,
        dec_hook: DecHook | None = None,
        ext_types: Sequence[type] = (),
    ) -> None:
        if ext_types and (enc_hook is None or dec_hook is None):
            raise ValueError("ext_types need both an enc_hook and a dec_hook")
        if len(ext_types) > 128:
            raise ValueError(f"at most 128 ext_types, got {len(ext_types)}")
        self.spec = spec
        self._enc_hook = enc_hook
        self._dec_hook = dec_hook
        self._ext_types = tuple(ext_types)
        self._codes = {kind: code for code, kind in enumerate(self._ext_types)}
        #: Whether values need no hook to be encoded.
        self.plain = enc_hook is None

    def limited_to(self, spec: Any) -> PayloadTypes:
        """The same hooks with another type."""
        return PayloadTypes(spec, self._enc_hook, self._dec_hook, self._ext_types)

    def encoding_hook(self, name: CodecName) -> EncHook | None:
        """What an encoder of this format calls for values it does not know."""
        if self._ext_types and name == "msgpack":
            return self._encode_extension
        return self._enc_hook

    def decoder(self, name: CodecName, spec: Any) -> Callable[[Encoded], Any]:
        """A function that decodes values of type ``spec``; raises whatever msgspec or a hook does."""
        hook = self._decode_custom if self._dec_hook is not None else None
        if name == "json":
            return cast("Callable[[Encoded], Any]", msgspec.json.Decoder(spec, dec_hook=hook).decode)
        ext_hook = self._decode_extension if self._ext_types else None
        return msgspec.msgpack.Decoder(spec, dec_hook=hook, ext_hook=ext_hook).decode

    def _encode_extension(self, value: Any) -> Any:
        assert self._enc_hook is not None
        plain = self._enc_hook(value)
        code = self._codes.get(type(value))
        if code is None:
            return plain
        data = msgspec.msgpack.encode(plain, enc_hook=self._encode_extension)
        return msgspec.msgpack.Ext(code, data)

    def _decode_extension(self, code: int, data: memoryview) -> Any:
        if not 0 <= code < len(self._ext_types):
            raise ValueError(f"unknown extension type {code}")
        assert self._dec_hook is not None
        plain = msgspec.msgpack.decode(data, ext_hook=self._decode_extension)
        return self._dec_hook(self._ext_types[code], plain)

    def _decode_custom(self, kind: Any, value: Any) -> Any:
        assert self._dec_hook is not None
        if isinstance(kind, type) and isinstance(value, kind):
            return value  # an extension has already become what it should be
        return self._dec_hook(kind, value)
