"""Which annotations can be decoded into, and what the others become."""

from __future__ import annotations

import collections.abc
import inspect
import typing
from collections.abc import Callable
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
    try:
        if annotation in _PLAIN:
            return annotation
    except TypeError:
        pass  # not hashable, such as Annotated with a list in it
    try:
        known = not _holds_unknown(msgspec.inspect.type_info(annotation), knows, set())
        msgspec.msgpack.Decoder(annotation)
        msgspec.json.Decoder(annotation)
    except Exception:
        return Any
    return annotation if known else Any


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


def _single_hint(function: Callable[..., Any], name: str, annotation: Any) -> Any:
    def probe() -> None: ...

    probe.__annotations__ = {name: annotation}
    try:
        namespace = getattr(inspect.unwrap(function), "__globals__", {})
        return get_type_hints(probe, globalns=namespace, include_extras=True)[name]
    except Exception:
        return Any


def _holds_unknown(node: Any, knows: Callable[[Any], bool], seen: set[int]) -> bool:
    """Whether a ``msgspec.inspect`` type has a class anywhere in it that nobody knows."""
    if id(node) in seen:
        return False
    seen.add(id(node))
    if isinstance(node, (tuple, list)):
        return any(_holds_unknown(item, knows, seen) for item in node)
    if not isinstance(node, (msgspec.inspect.Type, msgspec.inspect.Field)):
        return False
    if isinstance(node, msgspec.inspect.CustomType):
        return not knows(node.cls)
    return any(_holds_unknown(getattr(node, name), knows, seen) for name in node.__struct_fields__)
