"""Struct: a ``msgspec.Struct`` with conveniences for reading, copying and comparing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import msgspec

_INDENT = 2


class Struct(msgspec.Struct):
    """Base for structs of your own: ``repr()`` has a line for each field.

    Options (``frozen``, ``tag``, ...) are given as to any ``msgspec.Struct``.
    """

    def to_dict(self) -> dict[str, Any]:
        """The fields by name; structs inside become dicts too, also in lists, tuples and dicts."""
        return {name: _plain(getattr(self, name)) for name in self.__struct_fields__}

    def copy(self, update: Mapping[str, Any] | None = None) -> Self:
        """A shallow copy, with other values for some fields.

        New values are checked against the fields' types: ``msgspec.ValidationError`` where one does not
        fit, ``TypeError`` for a field that there is not.
        """
        if not update:
            return msgspec.structs.replace(self)
        kinds = {field.name: field.type for field in msgspec.structs.fields(self)}
        changes = {name: _cast(value, kinds.get(name, Any), True) for name, value in update.items()}
        return msgspec.structs.replace(self, **changes)

    def typecast(self, fields: set[str] | None = None) -> None:
        """Convert values in place to their fields' types, as leniently as ``"5"`` to ``int``.

        ``fields`` limits this to some. Fields of types that msgspec does not know are left alone;
        ``msgspec.ValidationError`` where a value cannot be converted, and nothing is changed then.
        """
        changes = {
            field.name: _cast(getattr(self, field.name), field.type, False)
            for field in msgspec.structs.fields(self)
            if fields is None or field.name in fields
        }
        for name, value in changes.items():
            msgspec.structs.force_setattr(self, name, value)

    def fields_diff(self, other: msgspec.Struct) -> list[tuple[str, Any, Any]]:
        """``(name, here, there)`` for each field that differs from ``other``'s, or is missing there."""
        pairs = (
            (name, getattr(self, name), getattr(other, name, msgspec.UNSET))
            for name in self.__struct_fields__
        )
        return [(name, here, there) for name, here, there in pairs if here is not there and here != there]

    def pformat(self, indent: int = 0) -> str:
        """Several lines, one for each field; structs inside are indented."""
        if not self.__struct_fields__:
            return f"{type(self).__qualname__}()"
        lines = [f"{type(self).__qualname__}("]
        inner = " " * (indent + _INDENT)
        for name in self.__struct_fields__:
            value = getattr(self, name, msgspec.UNSET)
            shown = value.pformat(indent + _INDENT) if isinstance(value, Struct) else repr(value)
            lines.append(f"{inner}{name}={shown},")
        return "\n".join([*lines, f"{' ' * indent})"])

    def __repr__(self) -> str:
        return self.pformat()


def _plain(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    if type(value) is dict:
        return {key: _plain(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(_plain, value))
    return value


def _cast(value: Any, kind: Any, strict: bool) -> Any:
    try:
        return msgspec.convert(value, kind, strict=strict)
    except msgspec.ValidationError:
        raise
    except TypeError:
        return value  # a type that msgspec has no notion of


__all__ = ["Struct"]
