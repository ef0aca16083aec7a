"""Signatures: arguments and results decoded into the types that a function is annotated with.

``Start.args`` (an array) and ``Start.kwargs`` (a map) are decoded straight into the parameters' types,
so that a wrong name, count or type is refused before the function runs. Parameters without an
annotation, or with one that msgspec cannot decode into, take anything. A parameter whose default is
``None`` takes ``None`` too, whatever its annotation says.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from typing import Any, Final, NoReturn
from weakref import WeakKeyDictionary

from msgspec import Raw

from .annotations import decodable, payload_annotation, type_hints
from .binding import Binder, Bound, Decode, Parameter, Parameters, decoder_for
from .codec import wire_codec
from .namespace import context_mark
from .paths import mismatch
from .payload import CodecName

#: Result types for which the exact type of the value tells all; others are checked by a round trip.
_EXACT: frozenset[Any] = frozenset({bool, int, float, str, bytes, list, dict})


class Signature:
    """How one function's arguments and result travel. Holds no reference to the function.

    ``skip`` names parameters that the runtime fills itself. ``result_type`` is the type of the result,
    or of the items of an async generator function; ``Any`` where it is not checked.
    """

    def __init__(self, function: Callable[..., Any], skip: Collection[str] = ()) -> None:
        self.name: Final = function.__qualname__
        hints = type_hints(function)
        self.result_type: Final = payload_annotation(function, hints)
        self.parameters: Final = Parameters(self.name, only_names=bool(skip))
        for parameter in inspect.signature(function).parameters.values():
            annotation = hints.get(parameter.name, Any)
            if parameter.name in skip:
                continue
            if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                self.parameters.rest_type = decodable(annotation)
            elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
                self.parameters.names_type = decodable(annotation)
            else:
                self.parameters.each.append(Parameter(parameter, annotation))
        self._binders: Final[dict[str, Binder]] = {}
        self._result_decoders: Final[dict[str, Decode]] = {}

    def bind(self, args: Raw, kwargs: Raw, codec: CodecName = "msgpack") -> Bound:
        """Decode a call's arguments: ``(args, kwargs)``, ready to be passed on.

        ``MsgTypeError`` names the argument that is wrong, missing or too much, and the path inside it.
        """
        binder = self._binders.get(codec)
        if binder is None:
            binder = self._binders[codec] = Binder(self.parameters, codec)
        return binder.bind(args, kwargs)

    def decode_result(self, raw: Raw, codec: CodecName = "msgpack") -> Any:
        """Decode what the function returned or yielded; ``MsgTypeError`` when it is something else."""
        decode = self._result_decoders.get(codec)
        if decode is None:
            decode = self._result_decoders[codec] = decoder_for(codec, self.result_type)
        try:
            return decode(raw)
        except Exception as error:
            self._refuse_result(error, raw, codec)

    def check_result(self, value: Any, codec: CodecName = "msgpack") -> Any:
        """Check what the function returned or yielded, before it is sent.

        Returns what to put in the message: the value, or its encoding where checking took one.
        Raises ``MsgTypeError``, and for what cannot be encoded what ``MsgCodec.encode`` does.
        """
        kind = self.result_type
        if kind is Any or (type(value) is kind and kind in _EXACT):
            return value
        raw = wire_codec(codec).encode_payload(value, "result")
        self.decode_result(raw, codec)
        return raw

    def _refuse_result(self, error: Exception, raw: Raw, codec: CodecName) -> NoReturn:
        raise mismatch(
            error,
            raw,
            subject=f"result of {self.name}()",
            expected=self.result_type,
            decode_any=decoder_for(codec, Any),
        ) from error

    def __repr__(self) -> str:
        return f"<Signature {self.name}>"


class SignatureCache:
    """The signatures of functions, each built once and forgotten with its function."""

    def __init__(self) -> None:
        self._signatures: WeakKeyDictionary[Callable[..., Any], Signature] = WeakKeyDictionary()

    def get(self, function: Callable[..., Any], skip: Collection[str] = ()) -> Signature:
        """The signature; for a ``@context`` function without its ``Context`` parameter.

        ``skip`` names more parameters that the runtime fills; it must be the same on every call for a
        function.
        """
        signature = self._signatures.get(function)
        if signature is None:
            mark = context_mark(function)
            own = () if mark is None else (mark.parameter,)
            signature = self._signatures[function] = Signature(function, {*own, *skip})
        return signature


__all__ = ["Signature", "SignatureCache"]
