"""Where inside a value something is wrong: found by a second walk, after a failure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Any

import msgspec

from tractor_core.errors import MsgTypeError

#: Containers inside containers, at most. A decoder's own limit differs between Python versions
#: (about 1,000 on 3.11, 10,000 on 3.13), so the sender refuses what some receivers could not read.
MAX_DEPTH = 200

#: In place of a payload nested deeper than this side's decoder can follow: no value in any encoding.
UNREADABLE = msgspec.Raw(b"\xc1")
#: The same for one with a string that is no text.
ILL_FORMED = msgspec.Raw(b"\xc1\xc1")

#: Longest description of an offending value (characters).
SHOWN = 200

#: How much of a value :func:`is_deep` looks at: items of one container, containers of one level, and
#: items in all. Together they bound it to some milliseconds.
_ITEMS = 256
_HOLDERS = 64
_LOOKED_AT = 50_000

_FLAT: frozenset[type] = frozenset(
    {type(None), bool, int, float, str, bytes, bytearray, memoryview, msgspec.Raw, msgspec.msgpack.Ext}
)
_ARRAYS = (list, tuple, set, frozenset)


def describe(value: Any, limit: int = SHOWN) -> str:
    """``repr(value)``, cut to ``limit`` characters; never raises."""
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__qualname__}, whose repr() fails>"
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def encoding_fault(
    value: Any, root: str, error: Exception, encode: Callable[[Any], object]
) -> TypeError | ValueError:
    """Say what in ``value`` cannot be encoded, and where.

    ``error`` is what encoding the whole raised and ``encode`` tries a part of it. The result is a
    ``ValueError`` for nesting that has no end or more than ``MAX_DEPTH`` levels, else a
    ``TypeError``; the caller raises it.
    """
    path, ancestors = root, {id(value)}
    for _ in range(MAX_DEPTH):
        found = _first_failing(value, encode)
        if found is None:
            kind = ValueError if isinstance(error, RecursionError) else TypeError
            return kind(f"cannot encode {path}: {_reason(error)}")
        label, value, error = found
        path += label
        if id(value) in ancestors:
            return ValueError(f"cannot encode {_shorten(path)}: it contains itself")
        ancestors.add(id(value))
    return too_deep(root)


def too_deep(root: str) -> ValueError:
    """The error for a value with more than ``MAX_DEPTH`` levels."""
    return ValueError(f"cannot encode {root}: nested deeper than {MAX_DEPTH}")


def is_deep(value: Any, limit: int = MAX_DEPTH) -> bool:
    """Whether containers in ``value`` are nested more than ``limit`` deep.

    Looks at a bounded part of wide values only, the first items of the first containers of each level:
    reading all of a large value would cost ten times what encoding it does. What is missed here ends its
    dialog, and no more, at a peer whose decoder cannot follow it.
    """
    level = [] if type(value) in _FLAT else [value]
    left = _LOOKED_AT
    for _ in range(limit):
        items = [item for holder in level for item in islice(_items(holder), _ITEMS)]
        left -= len(items)
        level = [item for item in items if type(item) not in _FLAT][:_HOLDERS]
        if not level or left < 0:
            return False
    return any(isinstance(item, (dict, *_ARRAYS)) or _field_names(item) for item in level)


def mismatch(
    error: Exception,
    raw: object,
    *,
    subject: str,
    root: str = "$",
    expected: Any = None,
    decode_any: Callable[[Any], Any],
) -> MsgTypeError:
    """The ``MsgTypeError`` for a payload that a decoder refused.

    ``subject`` names the payload for a reader, ``root`` is where ``raw`` stands in the whole, and
    ``decode_any`` decodes without a type, to show the offending value.
    """
    text, separator, inner = str(error).rpartition(" - at ")
    if _is(raw, ILL_FORMED):
        text, inner = "a string in it has half a surrogate pair, which is no text", "$"
    elif isinstance(error, RecursionError) or _is(raw, UNREADABLE):
        text, inner = f"nested deeper than this actor can read (senders may nest {MAX_DEPTH} deep)", "$"
    elif not separator:
        text, inner = str(error), "$"
    inner = inner.replace("`", "").removeprefix("key in ")
    path = root + inner.removeprefix("$")
    found: dict[str, Any] = {}
    try:
        found["bad_msg"] = _value_at(decode_any(raw), inner)
    except Exception:
        pass  # nothing to show, which is another thing than None
    return MsgTypeError(
        f"{subject}{f' at {path}' if path != '$' else ''}: {_lower_first(text)}",
        path=path,
        expected_msg_type=expected,
        boxed_type=MsgTypeError,
        **found,
    )


def _is(raw: object, mark: msgspec.Raw) -> bool:
    return isinstance(raw, msgspec.Raw) and len(memoryview(raw)) == len(memoryview(mark)) and raw == mark


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


def _shorten(path: str) -> str:
    return path if len(path) <= SHOWN else f"{path[: SHOWN // 2]}...{path[-SHOWN // 2 :]}"


def _first_failing(value: Any, encode: Callable[[Any], object]) -> tuple[str, Any, Exception] | None:
    for label, child in _children(value):
        try:
            encode(child)
        except Exception as error:
            return label, child, error
    return None


def _children(value: Any) -> Iterator[tuple[str, Any]]:
    """What is directly inside a value, with the piece of path that leads there."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield f"[{describe(key, 60)}]", item
            yield f"{{key {describe(key, 60)}}}", key
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield f"[{index}]", item
    elif isinstance(value, (set, frozenset)):
        for item in value:
            yield f"{{{describe(item, 60)}}}", item
    else:
        for name in _field_names(value):
            if hasattr(value, name):
                yield f".{name}", getattr(value, name)


def _items(value: Any) -> Any:
    if isinstance(value, dict):
        return value.values() if _FLAT.issuperset(map(type, value)) else chain(value, value.values())
    if isinstance(value, _ARRAYS):
        return value
    return [getattr(value, name) for name in _field_names(value) if hasattr(value, name)]


def _field_names(value: Any) -> tuple[str, ...]:
    kind = type(value)
    if isinstance(value, msgspec.Struct):
        return value.__struct_fields__
    if hasattr(kind, "__dataclass_fields__"):
        return tuple(kind.__dataclass_fields__)
    return tuple(attribute.name for attribute in getattr(kind, "__attrs_attrs__", ()))


_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]")


def _value_at(value: Any, path: str) -> Any:
    """Follow a path such as ``$.rows[3].id`` as far as it names single values."""
    position = 1
    while match := _STEP.match(path, position):
        name, index = match.groups()
        value = value[name] if name is not None else value[int(index)]
        position = match.end()
    return value
