"""Struct: the conveniences."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tractor_core.msg import Struct


class Opaque:
    """A class that msgspec has no notion of."""


class Inner(Struct):
    x: int


class Outer(Struct, frozen=True):
    name: str
    inner: Inner
    items: list[Inner] = []
    handle: Opaque | None = None


class Empty(Struct):
    pass


def outer(**kwargs: Any) -> Outer:
    return Outer("a", Inner(1), [Inner(2)], **kwargs)


def test_repr_has_a_line_per_field() -> None:
    assert repr(Outer("a", Inner(1))) == (
        "Outer(\n  name='a',\n  inner=Inner(\n    x=1,\n  ),\n  items=[],\n  handle=None,\n)"
    )
    assert repr(Empty()) == "Empty()"
    assert outer().pformat() == repr(outer())


def test_to_dict_goes_inside() -> None:
    assert outer().to_dict() == {"name": "a", "inner": {"x": 1}, "items": [{"x": 2}], "handle": None}


def test_copy_with_updates() -> None:
    original = outer()
    copy = original.copy({"name": "b"})
    assert copy == Outer("b", Inner(1), [Inner(2)])
    assert copy.inner is original.inner
    assert original.copy() == original
    assert original.copy() is not original


def test_copy_checks_types_and_names() -> None:
    with pytest.raises(msgspec.ValidationError):
        outer().copy({"name": 5})
    with pytest.raises(TypeError):
        outer().copy({"nothing": 5})
    handle = Opaque()
    assert outer().copy({"handle": handle}).handle is handle


def test_fields_diff() -> None:
    assert outer().fields_diff(outer()) == []
    assert outer().fields_diff(outer().copy({"name": "b"})) == [("name", "a", "b")]
    assert Inner(1).fields_diff(Empty()) == [("x", 1, msgspec.UNSET)]


def test_typecast_converts_all_or_nothing() -> None:
    class Numbers(Struct):
        a: int
        b: float
        c: Opaque

    handle = Opaque()
    numbers = Numbers("5", "2.5", handle)  # type: ignore[arg-type]
    numbers.typecast({"a"})
    assert (numbers.a, numbers.b) == (5, "2.5")
    numbers.typecast()
    assert (numbers.a, numbers.b, numbers.c) == (5, 2.5, handle)
    wrong = Numbers("5", "x", handle)  # type: ignore[arg-type]
    with pytest.raises(msgspec.ValidationError):
        wrong.typecast()
    assert wrong.a == "5"


def test_it_is_an_ordinary_struct_on_the_wire() -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(outer()), type=Outer) == outer()
