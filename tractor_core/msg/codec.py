"""Codecs: messages to bytes and back.

The runtime sends by building, say, ``Yield(cid, value)`` with the plain value in ``pld`` and calling
``codec.encode(message)`` once: envelope and payload in one pass. Under a codec of the user's own
(:func:`apply_codec`) the payload is first turned into ``Raw`` by ``current_codec().encode_payload()``
and the channel's codec then encodes the envelope around it; on the other side ``pld`` arrives as
``Raw`` and the dialog decodes it. A ``Raw`` holds bytes of *one* codec: what is relayed to a channel with
another codec must be decoded and encoded again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, Token
from functools import cache, lru_cache
from typing import Any, Final, NoReturn, TypeAlias, cast

import msgspec
from msgspec import Raw

from .envelope import without_payloads
from .extension import ExtType
from .paths import ILL_FORMED, MAX_DEPTH, UNREADABLE, encoding_fault, is_deep, too_deep
from .payload import CODEC_NAMES, CodecName, DecHook, EncHook, Encoded, MsgDec, PayloadTypes, by_hooks
from .types import Message, MsgType, PayloadMsg, Return, Start

#: Bytes that can head a msgpack map or array; a frame with few of them cannot be deep.
_CONTAINER_BYTES = bytes([*range(0x80, 0xA0), 0xDC, 0xDD, 0xDE, 0xDF])

#: Up to this size (bytes), counting container heads is cheaper than walking the value.
_COUNTED = 4096

#: Half of what JSON writes for one character beyond 16 bits, or both.
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class MsgCodec:
    """Encodes messages, and payloads of one type. Immutable; made by :func:`mk_codec`.

    ``name`` is ``"msgpack"`` or ``"json"``, ``msg_spec`` the union of messages, ``pld_spec`` the type that
    :meth:`decode_payload` demands. ``plain`` is true when no hook has to see what is encoded: a
    payload may then be encoded together with its envelope, by the channel's own codec.
    """

    __slots__ = ("_decode", "_encode", "_encode_into", "_types", "dec", "name", "plain")

    def __init__(self, name: CodecName, types: PayloadTypes) -> None:
        self.name: Final = name
        self._types: Final = types
        self.plain: Final = types.plain
        #: Decodes payloads; shared by all that use this codec.
        self.dec: Final = MsgDec(name, types)
        encoder = _FORMATS[name].Encoder(enc_hook=types.encoding_hook(name))
        self._encode: Callable[[Any], bytes] = encoder.encode
        self._encode_into: Callable[[Any, bytearray, int], None] = encoder.encode_into
        self._decode: Callable[[Encoded], MsgType] = _FORMATS[name].Decoder(MsgType).decode

    @property
    def msg_spec(self) -> Any:
        """The union of message types that :meth:`decode` takes."""
        return MsgType

    @property
    def pld_spec(self) -> Any:
        """The type of payloads."""
        return self._types.spec

    def encode(self, msg: Message) -> bytes:
        """One message as a frame's body.

        What cannot be encoded is a ``TypeError``, and nesting without end or of more than 200
        levels a ``ValueError``; either names the place inside the value.
        """
        try:
            frame = self._encode(msg)
        except Exception as error:
            self._explain(msg, error)
        if len(frame) > MAX_DEPTH:
            self._refuse_deep(msg, frame)
        return frame

    def encode_into(self, msg: Message, buffer: bytearray, offset: int = 0) -> None:
        """Like :meth:`encode`, writing to ``buffer`` from ``offset`` on and cutting it off behind."""
        try:
            self._encode_into(msg, buffer, offset)
        except Exception as error:
            self._explain(msg, error)
        if len(buffer) - offset > MAX_DEPTH:
            self._refuse_deep(msg, buffer)

    def encode_payload(self, value: Any, what: str = "value") -> Raw:
        """A value, ready to be put in a message; ``what`` names it in the errors of :meth:`encode`."""
        try:
            encoded = self._encode(value)
        except MemoryError:
            raise
        except Exception as error:
            raise encoding_fault(value, what, error, self._encode) from error
        if len(encoded) > MAX_DEPTH and self._may_be_deep(encoded) and is_deep(value):
            raise too_deep(what)
        return Raw(encoded)

    def decode(self, buffer: Encoded) -> MsgType:
        """The message in a frame's body, its payload left ``Raw``: a view that keeps ``buffer`` alive.

        ``msgspec.DecodeError`` for anything that is not a message, whatever is wrong with it. A payload
        nested deeper than this Python can follow, or in JSON with half a surrogate pair, which other
        languages have in their strings, is replaced by one that nothing can be made of, so that it is an
        error of its dialog's only.
        """
        try:
            return self._decode(buffer)
        except RecursionError as error:
            return self._unreadable(buffer, error, UNREADABLE)
        except msgspec.DecodeError as error:
            if self.name == "json" and _SURROGATE.search(buffer):
                return self._unreadable(buffer, error, ILL_FORMED)
            raise
        except UnicodeError as error:
            raise msgspec.DecodeError(str(error)) from error

    def decode_payload(self, raw: Encoded) -> Any:
        """A payload as ``pld_spec``; ``MsgTypeError`` naming the path when it is something else."""
        return self.dec.decode(raw)

    def over(self, name: CodecName) -> MsgCodec:
        """The same payload types and hooks in another encoding (or this one)."""
        return self if name == self.name else MsgCodec(name, self._types)

    def limited_to(self, spec: Any) -> MsgCodec:
        """The same hooks with another payload type."""
        return MsgCodec(self.name, self._types.limited_to(spec))

    def atop(self, base: MsgCodec) -> MsgCodec:
        """This in the encoding of ``base``, with its extension types besides.

        ``ValueError`` where a code means one type here and another one there.
        """
        return _atop(self, base) if base.ext_types else self.over(base.name)

    @property
    def ext_types(self) -> tuple[ExtType, ...]:
        """The types that are marked on the wire."""
        return self._types.ext_types

    def knows(self, kind: Any) -> bool:
        """Whether a class that msgspec does not know can be decoded into."""
        return self._types.knows(kind)

    def decoder(self, spec: Any) -> Callable[[Encoded], Any]:
        """A function that decodes payloads of type ``spec``; it raises whatever msgspec or a hook does."""
        return self._types.decoder(self.name, spec)

    def __repr__(self) -> str:
        return f"<MsgCodec {self.name} pld_spec={self.pld_spec}>"

    def _unreadable(self, buffer: Encoded, error: Exception, instead: Raw) -> MsgType:
        """The message with ``instead`` for its payloads; ``DecodeError`` where it is no message anyway."""
        envelope = without_payloads(buffer, self.name)
        if envelope is None:
            raise msgspec.DecodeError(str(error)) from error
        try:
            message = self._decode(envelope)
        except UnicodeError as fault:
            raise msgspec.DecodeError(str(fault)) from fault
        if isinstance(message, Start):
            return msgspec.structs.replace(message, args=instead, kwargs=instead)
        return msgspec.structs.replace(message, pld=instead)

    def _may_be_deep(self, frame: bytes | bytearray) -> bool:
        """False only when it is certain that the frame is not nested more than ``MAX_DEPTH`` deep."""
        if len(frame) > _COUNTED:
            return True
        if self.name == "json":
            return frame.count(b"[") + frame.count(b"{") > MAX_DEPTH
        return len(frame) - len(frame.translate(None, _CONTAINER_BYTES)) > MAX_DEPTH

    def _refuse_deep(self, msg: Message, frame: bytes | bytearray) -> None:
        if self._may_be_deep(frame):
            for what, value in _parts(msg):
                if is_deep(value):
                    raise too_deep(what)

    def _explain(self, msg: Message, error: Exception) -> NoReturn:
        if isinstance(error, MemoryError):
            raise error
        for what, value in _parts(msg):
            try:
                self._encode(value)
            except Exception as part_error:
                raise encoding_fault(value, what, part_error, self._encode) from error
        raise encoding_fault(msg, type(msg).__name__, error, self._encode) from error


def _parts(msg: object) -> list[tuple[str, Any]]:
    """The user's values in a message, by the names a user knows them under."""
    if isinstance(msg, Start):
        return [("args", msg.args), ("kwargs", msg.kwargs)]
    if isinstance(msg, PayloadMsg):
        return [("result" if isinstance(msg, Return) else "value", msg.pld)]
    return []


_FORMATS: Final[dict[str, Any]] = {"msgpack": msgspec.msgpack, "json": msgspec.json}


@lru_cache(maxsize=256)
def _atop(codec: MsgCodec, base: MsgCodec) -> MsgCodec:
    return MsgCodec(base.name, codec._types.atop(base._types))


def wire_codec(name: str = "msgpack") -> MsgCodec:
    """The codec of channels that settled on ``name``; one immutable object per process."""
    if name not in _FORMATS:
        raise ValueError(f"unknown codec {name!r} (there are {', '.join(CODEC_NAMES)})")
    return _plain_codec(cast("CodecName", name))


@cache
def _plain_codec(name: CodecName) -> MsgCodec:
    return MsgCodec(name, PayloadTypes())


#: How one tree talks: a codec for each encoding.
Codecs: TypeAlias = Mapping[CodecName, MsgCodec]


def tree_codecs(ext_types: Sequence[ExtType] = ()) -> Codecs:
    """The codecs of a tree's channels, with its extension types; ``ValueError`` where two collide."""
    if not ext_types:
        return {name: wire_codec(name) for name in CODEC_NAMES}
    return {name: MsgCodec(name, PayloadTypes(ext_types=ext_types)) for name in CODEC_NAMES}


def mk_codec(
    pld_spec: Any = Any,
    *,
    enc_hook: EncHook | None = None,
    dec_hook: DecHook | None = None,
    ext_types: Sequence[type | ExtType] = (),
    name: CodecName = "msgpack",
) -> MsgCodec:
    """A codec for payloads of type ``pld_spec`` with types of your own.

    ``enc_hook(value)`` turns a value that msgspec does not know into one that it does;
    ``dec_hook(type, value)`` turns that back where a type is annotated. Types listed in ``ext_types`` are
    marked on the wire (msgpack extensions, numbered in the order given, so both sides must list
    them alike) and come back without any annotation; JSON has no such marks. An :class:`ExtType` among them
    brings its own code and functions. ``ValueError`` for other ``ext_types`` without both hooks, or with
    codes that collide, ``TypeError`` for a spec that cannot be decoded.
    """
    return MsgCodec(name, PayloadTypes(pld_spec, enc_hook, dec_hook, by_hooks(ext_types, enc_hook, dec_hook)))


def mk_dec(
    spec: Any = Any,
    *,
    dec_hook: DecHook | None = None,
    name: CodecName = "msgpack",
) -> MsgDec:
    """A decoder for payloads of type ``spec``; ``TypeError`` for one that cannot be decoded."""
    return MsgDec(name, PayloadTypes(spec, None, dec_hook))


_codec: ContextVar[MsgCodec | None] = ContextVar("tractor_core.codec", default=None)


def current_codec() -> MsgCodec:
    """The codec that :func:`apply_codec` put in force here, else the plain msgpack one."""
    codec = _codec.get()
    return wire_codec("msgpack") if codec is None else codec


#: Returns the codec that :func:`apply_codec` put in force here, if it did.
applied_codec: Final[Callable[[], MsgCodec | None]] = _codec.get


@contextmanager
def apply_codec(codec: MsgCodec) -> Iterator[MsgCodec]:
    """Use ``codec`` for payloads in this block, and in the tasks started inside it.

    A channel keeps its own encoding: the runtime uses ``codec.over(...)`` that one.
    """
    token = _codec.set(codec)
    try:
        yield codec
    finally:
        _reset(token)


@contextmanager
def limit_plds(
    spec: Any, *, enc_hook: EncHook | None = None, dec_hook: DecHook | None = None
) -> Iterator[MsgDec]:
    """Take only payloads of type ``spec`` in this block; yields the decoder that checks them.

    Keeps the hooks of the codec in force unless it is given its own.
    """
    if enc_hook is None and dec_hook is None:
        codec = current_codec().limited_to(spec)
    else:
        codec = mk_codec(spec, enc_hook=enc_hook, dec_hook=dec_hook)
    with apply_codec(codec):
        yield codec.dec


def _reset(token: Token[MsgCodec | None]) -> None:
    try:
        _codec.reset(token)
    except ValueError:
        # Left in another context than it was entered in (a fixture's teardown): that one keeps
        # its own copy of the variable, and there is nothing of ours to undo in this one.
        pass


__all__ = [
    "CODEC_NAMES",
    "CodecName",
    "Codecs",
    "MsgCodec",
    "MsgDec",
    "applied_codec",
    "apply_codec",
    "current_codec",
    "limit_plds",
    "mk_codec",
    "mk_dec",
    "tree_codecs",
    "wire_codec",
]
