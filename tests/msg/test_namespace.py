"""Names of functions."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

import namespace_fixture as user
import pytest

from tractor_core.msg import NamespacePath
from tractor_core.msg.namespace import ContextMark, context_mark, functype_of, public_module, target_of


def test_path_round_trip() -> None:
    path = NamespacePath.from_ref(user.public)
    assert path == "namespace_fixture:public"
    assert isinstance(path, str)
    assert path.to_tuple() == ("namespace_fixture", "public")
    assert path.load_ref() is user.public
    assert NamespacePath.from_ref(user.Class.method).load_ref() is user.Class.method
    assert NamespacePath.from_ref(user.Class()).load_ref() is user.Class


def test_what_has_no_path() -> None:
    with pytest.raises(TypeError):
        NamespacePath.from_ref(user.make_nested())
    for text in ("abc", "abc:", ":abc"):
        with pytest.raises(ValueError, match="not a 'module:name' path"):
            NamespacePath(text).to_tuple()


@pytest.mark.parametrize(
    ("function", "functype"),
    [
        (user.public, "asyncfunc"),
        (user.stream, "asyncgen"),
        (user.dialog, "context"),
        (user.decorated, "asyncfunc"),
    ],
)
def test_functions_peers_can_call(function: Callable[..., Any], functype: str) -> None:
    assert functype_of(function) == functype
    assert target_of(function) == f"namespace_fixture:{function.__name__}"


@pytest.mark.parametrize(
    ("thing", "reason"),
    [
        (user.synchronous, "is not an async function"),
        (user.lambda_function, "is not an async function"),
        (user.make_nested(), "defined inside a function"),
        (user.partial, "is a partial"),
        (user.bound, "is a bound method"),
        (user.Class.static, "belongs to a class"),
        (user.Class, "expected an async function, got type"),
        ("public", "got the string"),
        (len, "expected an async function"),
        (user.original_shadowed, "is not this function"),
    ],
)
def test_what_peers_cannot_call_is_a_type_error(thing: Any, reason: str) -> None:
    with pytest.raises(TypeError, match=re.escape(reason)):
        target_of(thing)


def test_the_main_module_has_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    async def function() -> None: ...

    function.__qualname__ = "function"
    function.__module__ = "__mp_main__"
    monkeypatch.setitem(sys.modules, "__mp_main__", sys.modules[__name__])
    assert target_of(function) == "__main__:function"
    assert public_module("__mp_main__") == public_module("__main__") == "__main__"


def test_context_marks() -> None:
    assert context_mark(user.dialog) == ContextMark("ctx")
    assert context_mark(user.public) is None
