"""Which annotations can be decoded into, and what the others become."""

from __future__ import annotations

import collections.abc
import inspect
import typing
from collections.abc import Callable, Iterator
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
import msgspec.inspect

#: Types that need no closer look.
_PLAIN: frozenset[Any] = frozenset({Any, bool, int, float, str, bytes, list, dict, tuple, set, frozenset})

_ASYNC_ITERATORS = (
    collections.abc.AsyncGenerator,
    collections.abc.AsyncIterator,
    collections.abc.AsyncIterable,
)


def type_hints(function: Callable[..., Any]) -> dict[str, Any]:
    """The evaluated annotations, each by itself where they cannot be evaluated together.

    One that cannot be evaluated at all (a name imported for type checkers only) is ``Any``.
    """
    try:
        return get_type_hints(function, include_extras=True)
    except Exception:
        hints = {}
        for name, annotation in inspect.unwrap(function).__annotations__.items():
            hints[name] = _single_hint(function, name, annotation)
        return hints


def _known_to_msgspec_only(kind: Any) -> bool:
    return False


def decodable(annotation: Any, knows: Callable[[Any], bool] = _known_to_msgspec_only) -> Any:
    """The annotation where values can be decoded into it, else ``Any``.

    A type counts as decodable when msgspec, or ``knows(class)``, knows every part of it and a decoder can be
    built: a class of the user's that neither knows would build and then refuse every value.
    """
    if annotation is inspect.Parameter.empty:
        return Any
    if _is_plain(annotation):
        return annotation
    try:
        known = not _holds_unknown(msgspec.inspect.type_info(annotation), knows)
        msgspec.msgpack.Decoder(annotation)
        msgspec.json.Decoder(annotation)
    except Exception:
        return Any
    return annotation if known else Any


def check_whole(annotation: Any, what: str) -> None:
    """``TypeError`` where values of the annotation, that of ``what``, would arrive with fields missing.

    Of an attrs class msgspec sends no field whose name begins with ``_``, and asks no hook. One that has no
    part in ``__init__`` and comparison may be left out: what arrives is equal to what was sent.
    """
    if _is_plain(annotation):
        return
    try:
        nodes = list(_nodes(msgspec.inspect.type_info(annotation)))
    except Exception:
        return  # not decodable, so of no consequence
    for node in nodes:
        named: Any = getattr(node, "cls", None)
        kind = get_origin(named) or named
        for field in getattr(kind, "__attrs_attrs__", ()):
            if field.name.startswith("_") and (field.init or field.eq):
                raise TypeError(
                    f"{what}: the field {field.name!r} of the attrs class {kind.__qualname__} would not "
                    "arrive, as msgspec sends no attrs fields that begin with '_'; rename it, make the class "
                    "a dataclass, or give the field init=False and eq=False"
                )


def payload_annotation(function: Callable[..., Any], hints: dict[str, Any]) -> Any:
    """What a caller receives is annotated with: the result, or the items of an async generator.

    No annotation, and ``None``, are ``Any``: unchecked.
    """
    annotation = hints.get("return", Any)
    if inspect.isasyncgenfunction(function):
        items = get_args(annotation)
        annotation = items[0] if items and get_origin(annotation) in _ASYNC_ITERATORS else Any
    if annotation in (None, type(None), typing.NoReturn, typing.Never):
        return Any
    return annotation


def _is_plain(annotation: Any) -> bool:
    try:
        return annotation in _PLAIN
    except TypeError:
        return False  # not hashable, such as Annotated with a list in it


def _single_hint(function: Callable[..., Any], name: str, annotation: Any) -> Any:
    def probe() -> None: ...

    probe.__annotations__ = {name: annotation}
    try:
        namespace = getattr(inspect.unwrap(function), "__globals__", {})
        return get_type_hints(probe, globalns=namespace, include_extras=True)[name]
    except Exception:
        return Any


def _holds_unknown(info: msgspec.inspect.Type, knows: Callable[[Any], bool]) -> bool:
    """Whether a ``msgspec.inspect`` type has a class anywhere in it that nobody knows."""
    return any(isinstance(node, msgspec.inspect.CustomType) and not knows(node.cls) for node in _nodes(info))


def _nodes(info: msgspec.inspect.Type) -> Iterator[msgspec.inspect.Type]:
    """A ``msgspec.inspect`` type and all types in it, each once."""
    seen: set[int] = set()
    waiting: list[Any] = [info]
    while waiting:
        node = waiting.pop()
        if isinstance(node, (tuple, list)):
            waiting.extend(node)
        elif isinstance(node, (msgspec.inspect.Type, msgspec.inspect.Field)) and id(node) not in seen:
            seen.add(id(node))
            if isinstance(node, msgspec.inspect.Type):
                yield node
            waiting.extend(getattr(node, name) for name in node.__struct_fields__)
