"""Arguments: decoded from a call's array and map into what a function can be called with."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from typing import Any, NoReturn, TypeAlias

import msgspec
from msgspec import UNSET, Raw, UnsetType

from tractor_core.errors import MsgTypeError

from .annotations import decodable
from .codec import MsgCodec
from .paths import describe, mismatch
from .payload import Encoded

_KIND = inspect.Parameter
Decode: TypeAlias = Callable[[Encoded], Any]
Bound: TypeAlias = tuple[list[Any], dict[str, Any]]


class Parameter:
    """One parameter that a caller can fill."""

    __slots__ = ("by_name", "by_position", "name", "required", "type")

    def __init__(self, parameter: inspect.Parameter, annotation: Any, codec: MsgCodec) -> None:
        self.name = parameter.name
        self.required = parameter.default is parameter.empty
        self.by_position = parameter.kind in (_KIND.POSITIONAL_ONLY, _KIND.POSITIONAL_OR_KEYWORD)
        self.by_name = parameter.kind in (_KIND.KEYWORD_ONLY, _KIND.POSITIONAL_OR_KEYWORD)
        kind = decodable(annotation, codec.knows)
        if parameter.default is None and kind is not Any:
            kind = decodable(kind | None, codec.knows)
        self.type: Any = kind


class Parameters(msgspec.Struct):
    """What a caller of the function ``name`` can fill.

    ``rest_type`` and ``names_type`` are those of ``*args`` and ``**kwargs``, ``UNSET`` where there are none.
    ``only_names`` is true when the runtime fills a parameter by name, which others filled by
    position could collide with: all are passed on by name then, unless some can only be passed by position.
    """

    name: str
    only_names: bool = False
    each: list[Parameter] = []
    rest_type: Any = UNSET
    names_type: Any = UNSET

    @property
    def positional(self) -> list[Parameter]:
        """Those that can be filled by position, in order."""
        return [parameter for parameter in self.each if parameter.by_position]


class Binder:
    """Decodes the arguments for one function by one codec."""

    def __init__(self, parameters: Parameters, codec: MsgCodec) -> None:
        self._parameters = parameters
        self._name = parameters.name
        self._codec = codec
        self._most = len(parameters.positional)
        #: Up to so many positional arguments are passed on by name.
        self._most_named = self._most if parameters.only_names else 0
        if not all(parameter.by_name for parameter in parameters.positional):
            self._most_named = 0
        self._decode_array = codec.decoder(list[Raw])
        self._decode_any = codec.decoder(Any)
        self._positional = [(p.name, p.type, codec.decoder(p.type)) for p in parameters.positional]
        rest = parameters.rest_type
        self._rest = None if rest is UNSET else (rest, codec.decoder(rest))
        #: How to decode the keyword arguments after so many positional ones.
        self._by_count: list[Keywords | None] = [None] * (self._most + 1)

    def bind(self, args: Raw, kwargs: Raw) -> Bound:
        """See ``Signature.bind``."""
        try:
            given = self._decode_array(args)
        except Exception as error:
            raise self._mismatch(error, args, "arguments", None) from error
        values = [self._argument(index, raw) for index, raw in enumerate(given)] if given else []
        count = min(len(values), self._most)
        keywords = self._by_count[count]
        if keywords is None:
            keywords = self._by_count[count] = Keywords(self._parameters, count, self._codec)
        try:
            named = keywords.decode(kwargs)
        except MsgTypeError:
            raise
        except Exception as error:
            raise self._mismatch(error, kwargs, "arguments", None) from error
        if values and len(values) <= self._most_named:
            named.update(zip((name for name, _, _ in self._positional), values, strict=False))
            values = []
        return values, named

    def _argument(self, index: int, raw: Raw) -> Any:
        if index < self._most:
            name, kind, decode = self._positional[index]
        elif self._rest is not None:
            name, (kind, decode) = str(index), self._rest
        else:
            raise refusal(self._name, f"takes {self._most} positional arguments, more were given")
        try:
            return decode(raw)
        except Exception as error:
            raise self._mismatch(error, raw, f"argument {name!r}", kind, f"$.{name}") from error

    def _mismatch(
        self, error: Exception, raw: Raw, what: str, expected: Any, root: str = "$"
    ) -> MsgTypeError:
        return mismatch(
            error,
            raw,
            subject=f"{self._name}() {what}",
            root=root,
            expected=expected,
            decode_any=self._decode_any,
        )


class Keywords:
    """Decodes the keyword arguments that may follow ``count`` positional ones."""

    def __init__(self, parameters: Parameters, count: int, codec: MsgCodec) -> None:
        self._name = parameters.name
        self._taken = frozenset(p.name for p in parameters.positional[:count])
        left = [p for p in parameters.each if p.name not in self._taken]
        #: Positional-only parameters that were not given can only be left to their defaults.
        self._lacking = [p.name for p in left if p.required and not p.by_name]
        self._types = {p.name: p.type for p in left if p.by_name}
        #: Whether each of them is given by name whenever they fit.
        self._all_given = not self._lacking and all(p.required for p in left)
        self._required = frozenset(p.name for p in left if p.by_name and p.required)
        self._known = frozenset(self._types)
        self._demanding = bool(self._lacking or self._required)
        self._others = parameters.names_type
        self._decode_any = codec.decoder(Any)
        self.decode: Callable[[Raw], dict[str, Any]]
        if self._others is UNSET and any(kind is not Any for kind in self._types.values()):
            self._decode_struct = codec.decoder(_struct_of(parameters.name, left))
            self.decode = self._decode_typed
        else:
            others_plain = self._others is UNSET or self._others is Any
            plain = others_plain and all(kind is Any for kind in self._types.values())
            self._decode_map = codec.decoder(dict[str, Any] if plain else dict[str, Raw])
            self._decoders = None if plain else {n: codec.decoder(t) for n, t in self._types.items()}
            self._decode_other = None if plain else codec.decoder(Any if others_plain else self._others)
            self.decode = self._decode_named

    def _decode_typed(self, raw: Raw) -> dict[str, Any]:
        if self._lacking:
            self._miss(self._lacking)
        try:
            struct = self._decode_struct(raw)
        except Exception as error:
            self._refuse(error, raw)
        if self._all_given:
            return msgspec.structs.asdict(struct)
        named = {}
        for name in self._types:
            value = getattr(struct, name)
            if value is not UNSET:
                named[name] = value
        return named

    def _decode_named(self, raw: Raw) -> dict[str, Any]:
        named: dict[str, Any] = self._decode_map(raw)
        if (named or self._demanding) and (
            self._lacking or not self._required <= named.keys() <= self._known
        ):
            self._check_names(named.keys())
        if self._decoders is not None:
            for name, value in named.items():
                decode = self._decoders.get(name) or self._decode_other
                assert decode is not None
                named[name] = self._convert(name, value, decode)
        return named

    def _convert(self, name: str, value: Raw, decode: Decode) -> Any:
        try:
            return decode(value)
        except Exception as error:
            raise mismatch(
                error,
                value,
                subject=f"{self._name}() argument {name!r}",
                root=f"$.{name}",
                expected=self._types.get(name, self._others),
                decode_any=self._decode_any,
            ) from error

    def _check_names(self, given: Collection[str]) -> None:
        for name in given:
            if name in self._taken:
                raise refusal(self._name, f"got two values for argument {name!r}", f"$.{name}")
            if name not in self._known and self._others is UNSET:
                takes = ", ".join(self._types) or "none by name"
                text = f"got an unexpected argument {describe(name)} (it takes: {takes})"
                raise refusal(self._name, text, f"$.{name}")
        missing = [*self._lacking, *(name for name in self._types if name in self._required - set(given))]
        if missing:
            self._miss(missing)

    def _miss(self, names: list[str]) -> NoReturn:
        text = f"is missing {'argument' if len(names) == 1 else 'arguments'} {', '.join(map(repr, names))}"
        raise refusal(self._name, text, f"$.{names[0]}")

    def _refuse(self, error: Exception, raw: Raw) -> NoReturn:
        """Say what is wrong with keyword arguments that the struct refused."""
        given = self._decode_any(raw)
        if isinstance(given, dict) and all(isinstance(name, str) for name in given):
            self._check_names(given.keys())
        _, separator, path = str(error).rpartition(" - at `$.")
        name = path.rstrip("`").partition(".")[0].partition("[")[0] if separator else ""
        raise mismatch(
            error,
            raw,
            subject=f"{self._name}() argument {name!r}" if name else f"{self._name}() arguments",
            expected=self._types.get(name),
            decode_any=self._decode_any,
        ) from error


def refusal(function: str, text: str, path: str = "$") -> MsgTypeError:
    """The error for arguments that do not fit a function's parameters by name or number."""
    return MsgTypeError(f"{function}() {text}", path=path, boxed_type=MsgTypeError)


def _struct_of(function: str, parameters: list[Parameter]) -> type[msgspec.Struct]:
    fields: list[Any] = []
    for parameter in parameters:
        if not parameter.by_name:
            continue
        if parameter.required:
            fields.append((parameter.name, parameter.type))
        else:
            kind = Any if parameter.type is Any else parameter.type | UnsetType
            fields.append((parameter.name, kind, UNSET))
    return msgspec.defstruct(f"{function}()", fields, kw_only=True, forbid_unknown_fields=True)
