"""Payloads: what their type is, and how one is decoded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any, Final, Literal, TypeAlias, cast, get_origin

import msgspec
from msgspec import Raw

from .annotations import check_whole
from .extension import CODES, ExtType, checked
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
    """What a codec knows of payloads, apart from the encoding: their type, and how what msgspec does
    not know becomes something that it does. Immutable.

    ``TypeError`` for a type whose values would lose fields on their way.
    """

    def __init__(
        self,
        spec: Any = Any,
        enc_hook: EncHook | None = None,
        dec_hook: DecHook | None = None,
        ext_types: Sequence[ExtType] = (),
    ) -> None:
        check_whole(spec, "payload type")
        self.spec = spec
        self.ext_types = checked(ext_types)
        self._enc_hook = enc_hook
        self._dec_hook = dec_hook
        self._by_type = {ext_type.type: ext_type for ext_type in self.ext_types}
        self._by_code = {ext_type.code: ext_type for ext_type in self.ext_types}
        #: Whether values need no hook to be encoded.
        self.plain = enc_hook is None and not ext_types

    def limited_to(self, spec: Any) -> PayloadTypes:
        """The same hooks with another type."""
        return PayloadTypes(spec, self._enc_hook, self._dec_hook, self.ext_types)

    def atop(self, base: PayloadTypes) -> PayloadTypes:
        """These, with the extension types of ``base`` besides; ``ValueError`` where two collide."""
        return PayloadTypes(self.spec, self._enc_hook, self._dec_hook, (*base.ext_types, *self.ext_types))

    def knows(self, kind: Any) -> bool:
        """Whether a class that msgspec does not know can be decoded into."""
        return self._dec_hook is not None or (get_origin(kind) or kind) in self._by_type

    def encoding_hook(self, name: CodecName) -> EncHook | None:
        """What an encoder of this format calls for values it does not know."""
        if not self.ext_types:
            return self._enc_hook
        return self._encode_marked if name == "msgpack" else self._encode_plain

    def decoder(self, name: CodecName, spec: Any) -> Callable[[Encoded], Any]:
        """A function that decodes values of type ``spec``; raises whatever msgspec or a hook does."""
        hook = None if self._dec_hook is None and not self.ext_types else self._decode_custom
        if name == "json":
            return cast("Callable[[Encoded], Any]", msgspec.json.Decoder(spec, dec_hook=hook).decode)
        ext_hook = self._decode_marked if self.ext_types else None
        return msgspec.msgpack.Decoder(spec, dec_hook=hook, ext_hook=ext_hook).decode

    def _encode_plain(self, value: Any) -> Any:
        ext_type = self._by_type.get(type(value))
        if ext_type is not None:
            return ext_type.to_plain(value)
        if self._enc_hook is None:
            raise TypeError(f"Encoding objects of type {type(value).__qualname__} is unsupported")
        return self._enc_hook(value)

    def _encode_marked(self, value: Any) -> Any:
        plain = self._encode_plain(value)
        ext_type = self._by_type.get(type(value))
        if ext_type is None:
            return plain
        data = msgspec.msgpack.encode(plain, enc_hook=self._encode_marked)
        return msgspec.msgpack.Ext(ext_type.code, data)

    def _decode_marked(self, code: int, data: memoryview) -> Any:
        ext_type = self._by_code.get(code)
        if ext_type is None:
            raise ValueError(f"unknown extension type {code}")
        decode = self._plain_decoder(ext_type)
        return _made(ext_type, lambda: decode(data))

    def _plain_decoder(self, ext_type: ExtType) -> Callable[[Encoded], Any]:
        # Made on demand: extension types may hold each other.
        decode = self._plain_decoders.get(ext_type.code)
        if decode is None:
            decode = self._plain_decoders[ext_type.code] = self.decoder("msgpack", ext_type.plain_type)
        return decode

    @cached_property
    def _plain_decoders(self) -> dict[int, Callable[[Encoded], Any]]:
        return {}

    def _decode_custom(self, kind: Any, value: Any) -> Any:
        of_class = get_origin(kind) or kind
        if isinstance(of_class, type) and isinstance(value, of_class):
            return value  # an extension has already become what it should be
        ext_type = self._by_type.get(of_class)
        if ext_type is not None:
            plain_type = ext_type.plain_type
            return _made(ext_type, lambda: msgspec.convert(value, plain_type, dec_hook=self._decode_custom))
        if self._dec_hook is None:
            raise TypeError(f"Expected `{of_class.__qualname__}`, got `{type(value).__qualname__}`")
        return self._dec_hook(kind, value)


def _made(ext_type: ExtType, decode: Callable[[], Any]) -> Any:
    """The value of a plain form.

    Whatever is wrong is a ``ValueError``: the decoder around this adds to one where that is.
    """
    try:
        return ext_type.from_plain(decode())
    except MemoryError:
        raise
    except Exception as error:
        reason = str(error).replace(" - at ", " in its plain form, at ") or type(error).__name__
        raise ValueError(f"not a `{ext_type.type.__qualname__}`: {reason}") from error


def by_hooks(
    ext_types: Sequence[type | ExtType], enc_hook: EncHook | None, dec_hook: DecHook | None
) -> list[ExtType]:
    """Extension types of a codec: classes alone are numbered in their order and converted by the hooks."""
    found = []
    for code, kind in enumerate(ext_types):
        if isinstance(kind, ExtType):
            found.append(kind)
        elif enc_hook is None or dec_hook is None:
            raise ValueError("ext_types need both an enc_hook and a dec_hook, or to be ExtType objects")
        elif code not in CODES:
            raise ValueError(f"at most {len(CODES)} ext_types, got {len(ext_types)}")
        else:
            found.append(ExtType(kind, code, enc_hook, partial(dec_hook, kind)))
    return found
