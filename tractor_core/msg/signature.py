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

from .annotations import check_whole, decodable, payload_annotation, type_hints
from .binding import Binder, Bound, Decode, Parameter, Parameters
from .codec import MsgCodec, wire_codec
from .namespace import context_mark
from .paths import describe, mismatch

#: Result types for which the exact type of the value tells all; others are checked by a round trip.
_EXACT: frozenset[Any] = frozenset({bool, int, float, str, bytes, list, dict})

_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)

#: For how many codecs a signature is kept decoded; a program has few, unless it makes one for every call.
_CODECS_KEPT = 16


class Signature:
    """How one function's arguments and result travel. Holds no reference to the function.

    ``skip`` names parameters that the runtime fills itself. What an annotation means depends on the codec,
    which may know more types than msgspec does. ``TypeError`` for one whose values would lose fields.
    """

    def __init__(self, function: Callable[..., Any], skip: Collection[str] = ()) -> None:
        self.name: Final = function.__qualname__
        hints = type_hints(function)
        self._result_annotation: Final = payload_annotation(function, hints)
        self._only_names: Final = bool(skip)
        given = list(inspect.signature(function).parameters.values())
        self._parameters: Final = [
            (parameter, hints.get(parameter.name, Any)) for parameter in given if parameter.name not in skip
        ]
        for parameter, annotation in self._parameters:
            check_whole(annotation, f"argument {parameter.name!r} of {self.name}()")
        check_whole(self._result_annotation, f"result of {self.name}()")
        #: Where those in ``skip`` stand that can be passed by position, and whether they must be.
        self._places: Final = {
            parameter.name: (place, parameter.kind is parameter.POSITIONAL_ONLY)
            for place, parameter in enumerate(given)
            if parameter.name in skip and parameter.kind in _BY_POSITION
        }
        self._by_codec: Final[dict[MsgCodec, CodedSignature]] = {}

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of what a caller can fill."""
        return tuple(parameter.name for parameter, _ in self._parameters)

    @property
    def result_type(self) -> Any:
        """The type of the result, or of an async generator's items, by msgspec alone; ``Any``: unchecked."""
        return self.by(wire_codec()).result_type

    def fill(self, name: str, value: Any, args: list[Any], kwargs: dict[str, Any]) -> None:
        """Put what the runtime gives for a parameter of ``skip`` among the arguments that were bound."""
        place, only_there = self._places.get(name, (0, False))
        if name in self._places and (args or only_there) and place <= len(args):
            args.insert(place, value)
        else:
            kwargs[name] = value

    def by(self, codec: MsgCodec) -> CodedSignature:
        """The signature in the eyes of one codec; built when first asked for."""
        coded = self._by_codec.get(codec)
        if coded is None:
            if len(self._by_codec) >= _CODECS_KEPT:
                self._by_codec.clear()
            parameters = self._parameters_by(codec)
            result_type = decodable(self._result_annotation, codec.knows)
            coded = self._by_codec[codec] = CodedSignature(parameters, result_type, codec)
        return coded

    def unchecked(self, codec: MsgCodec) -> dict[str, str]:
        """The annotations that this codec takes for ``Any``, by the parameter's name (or ``"return"``)."""
        annotations = {parameter.name: annotation for parameter, annotation in self._parameters}
        annotations["return"] = self._result_annotation
        return {
            name: describe(annotation)
            for name, annotation in annotations.items()
            if annotation is not Any and decodable(annotation, codec.knows) is Any
        }

    def _parameters_by(self, codec: MsgCodec) -> Parameters:
        found = Parameters(self.name, only_names=self._only_names, each=[])
        for parameter, annotation in self._parameters:
            if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                found.rest_type = decodable(annotation, codec.knows)
            elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
                found.names_type = decodable(annotation, codec.knows)
            else:
                found.each.append(Parameter(parameter, annotation, codec))
        return found

    def __repr__(self) -> str:
        return f"<Signature {self.name}>"


class CodedSignature:
    """A function's signature by one codec: decodes arguments and results, and checks results.

    ``result_type`` is the type of the result, or of the items of an async generator function; ``Any`` where
    it is not checked.
    """

    def __init__(self, parameters: Parameters, result_type: Any, codec: MsgCodec) -> None:
        self.name: Final = parameters.name
        self.result_type: Final = result_type
        self._codec: Final = codec
        #: Decodes a call's arguments, ``bind(args, kwargs)``, and returns them ready to be passed on.
        #: ``MsgTypeError`` names the argument that is wrong, missing or too much, and the path inside it.
        self.bind: Final[Callable[[Raw, Raw], Bound]] = Binder(parameters, codec).bind
        self._decode_result: Final[Decode] = codec.decoder(result_type)

    def decode_result(self, raw: Raw) -> Any:
        """Decode what the function returned or yielded; ``MsgTypeError`` when it is something else."""
        try:
            return self._decode_result(raw)
        except Exception as error:
            self._refuse_result(error, raw)

    def check_result(self, value: Any, *, encoded: bool = False) -> Any:
        """Check what the function returned or yielded, before it is sent.

        Returns what to put in the message: the value, or its encoding where checking took one or where it
        is to be ``encoded`` by this codec in any case. Raises ``MsgTypeError``, and for what cannot be
        encoded what ``MsgCodec.encode`` does.
        """
        kind = self.result_type
        exact = kind is Any or (type(value) is kind and kind in _EXACT)
        if exact and not encoded:
            return value
        raw = self._codec.encode_payload(value, "result")
        if not exact:
            self.decode_result(raw)
        return raw

    def _refuse_result(self, error: Exception, raw: Raw) -> NoReturn:
        raise mismatch(
            error,
            raw,
            subject=f"result of {self.name}()",
            expected=self.result_type,
            decode_any=self._codec.decoder(Any),
        ) from error


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


__all__ = ["CodedSignature", "Signature", "SignatureCache"]
