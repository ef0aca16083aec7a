"""ExtType: how a class that msgspec does not know travels.

A tree is told of them once, ``open_root_actor(ext_types=[...])``; from then on their instances may stand
anywhere in what its actors send each other. Children inherit them as names, which they import as they
import their ``enable_modules``; a message carries no name, only the number that both sides agreed on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from functools import cached_property
from types import FunctionType
from typing import Any, TypeAlias
from uuid import UUID

import msgspec
import msgspec.inspect

from .annotations import check_whole, type_hints
from .namespace import NamespacePath

#: What msgpack leaves to applications.
CODES = range(128)


#: Other classes that msgspec knows do not take their subclasses with them.
_NATIVE_WITH_SUBCLASSES = (dict, list, tuple, set, frozenset, UUID, Enum)

#: In the body of the next class the name ``type`` is taken.
Class: TypeAlias = type


class ExtType(msgspec.Struct, frozen=True, dict=True):
    """A class, its number on the wire, and two functions that turn instances into a *plain* form and back.

    ``to_plain(value)`` returns something that can be sent, ``from_plain(plain)`` makes the value of it again;
    what its parameter is annotated with is what the plain form is decoded into and checked against::

        def to_plain(fraction: Fraction) -> tuple[int, int]:
            return fraction.numerator, fraction.denominator

        def from_plain(plain: tuple[int, int]) -> Fraction:
            return Fraction(*plain)

        FRACTION = ExtType(Fraction, 1, to_plain, from_plain)

    Instances of ``type`` itself are meant, not of its subclasses. ``code`` is 0 to 127 and must be the same
    wherever the type is known; ``ValueError`` for another. ``TypeError`` where ``type`` is no class, or one
    that msgspec sends in a way of its own: builtins, dataclasses, attrs classes, structs and enums.
    """

    type: Class
    code: int
    to_plain: Callable[[Any], Any]
    from_plain: Callable[[Any], Any]

    def __post_init__(self) -> None:
        if not isinstance(self.type, Class):
            raise TypeError(f"an extension type is for a class, not for {self.type!r}")
        if is_sent_natively(self.type):
            raise TypeError(
                f"{self.type.__qualname__} cannot be an extension type: msgspec sends it by itself"
            )
        if not all(callable(function) for function in (self.to_plain, self.from_plain)):
            raise TypeError(f"to_plain and from_plain of {self.type.__qualname__} are functions")
        if not isinstance(self.code, int):
            raise TypeError(f"an extension's code is an int, not {self.code!r}")
        if self.code not in CODES:
            raise ValueError(f"an extension's code is {CODES[0]} to {CODES[-1]}, not {self.code!r}")

    @cached_property
    def plain_type(self) -> Any:
        """What the plain form is decoded into: by the annotation of ``from_plain``, else ``Any``."""
        function = self.from_plain
        if not isinstance(function, FunctionType) or not function.__code__.co_argcount:
            return Any
        annotation = type_hints(function).get(function.__code__.co_varnames[0], Any)
        check_whole(annotation, f"plain form of {self.type.__qualname__}")
        return annotation

    def to_names(self) -> ExtNames:
        """The names by which another process finds the same; ``TypeError`` for what has none."""
        names = [NamespacePath.from_ref(part) for part in (self.type, self.to_plain, self.from_plain)]
        for name, part in zip(names, (self.type, self.to_plain, self.from_plain), strict=True):
            _check_found(name, part)
        return ExtNames(self.code, *map(str, names))


class ExtNames(msgspec.Struct, array_like=True, frozen=True):
    """An :class:`ExtType` as it reaches a child: by names, ``module:name``."""

    code: int
    type: str
    to_plain: str
    from_plain: str

    def load(self) -> ExtType:
        """Import what is named. Only for names from one's own parent; import errors pass through."""
        kind, to_plain, from_plain = (
            NamespacePath(name).load_ref() for name in (self.type, self.to_plain, self.from_plain)
        )
        return ExtType(kind, self.code, to_plain, from_plain)


def names_of(ext_types: Sequence[ExtType]) -> list[ExtNames]:
    """How a child is told of them; ``TypeError`` names what it could not import."""
    return [ext_type.to_names() for ext_type in checked(ext_types)]


def checked(ext_types: Sequence[ExtType]) -> tuple[ExtType, ...]:
    """The same, without repetitions; ``ValueError`` where two share a code, or one class has two.

    ``TypeError`` for what is no :class:`ExtType`.
    """
    for given in ext_types:
        _check_kind(given)
    unique = tuple(dict.fromkeys(ext_types))
    for index, one in enumerate(unique):
        for other in unique[:index]:
            if one.code == other.code:
                raise ValueError(
                    f"{one.type.__qualname__} and {other.type.__qualname__} have the same code, {one.code}"
                )
            if one.type is other.type:
                raise ValueError(f"{one.type.__qualname__} has two codes, {other.code} and {one.code}")
    return unique


def _check_kind(given: object) -> None:
    if not isinstance(given, ExtType):
        hint = f"; write ExtType({given.__qualname__}, ...)" if isinstance(given, type) else ""
        raise TypeError(f"ext_types takes ExtType objects, not {given!r}{hint}")


def is_sent_natively(kind: type[Any]) -> bool:
    """Whether msgspec encodes instances of the class by itself, never asking a hook."""
    if issubclass(kind, _NATIVE_WITH_SUBCLASSES):
        return True
    try:
        return not isinstance(msgspec.inspect.type_info(kind), msgspec.inspect.CustomType)
    except (TypeError, NameError):
        return True  # fields that cannot be decoded, or not yet: it looks only into what it knows


def _check_found(name: NamespacePath, part: Any) -> None:
    try:
        found = name.load_ref()
    except (ImportError, AttributeError):
        found = None
    if found is not part:
        raise TypeError(f"children cannot import {part!r} as {str(name)!r}; define it at the top of a module")


__all__ = ["ExtNames", "ExtType", "checked", "names_of"]
