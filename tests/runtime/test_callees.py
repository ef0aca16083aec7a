"""What is known of a called function is found out once, and stays true."""

from __future__ import annotations

import gc
import sys
import weakref
from types import ModuleType
from typing import Any

import pytest

from tractor_core.msg.signature import SignatureCache
from tractor_core.runtime.callees import Callees

SOURCE = """
async def function() -> int:
    return 1

async def generator():
    yield 1
"""


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    made = ModuleType("made_for_callees")
    monkeypatch.setitem(sys.modules, made.__name__, made)
    exec(SOURCE, made.__dict__)
    return made


def test_a_function_is_looked_at_once(module: ModuleType) -> None:
    callees = Callees(SignatureCache())
    first = callees.get(module.function, "asyncfunc")
    assert first.target == "made_for_callees:function"
    assert callees.get(module.function, "asyncfunc") is first


def test_another_kind_is_refused_every_time(module: ModuleType) -> None:
    callees = Callees(SignatureCache())
    for _ in range(2):
        with pytest.raises(TypeError, match="open_stream_from"):
            callees.get(module.generator, "asyncfunc")
    assert callees.get(module.generator, "asyncgen").functype == "asyncgen"


def test_a_name_that_now_means_another_function_is_refused(module: ModuleType) -> None:
    callees = Callees(SignatureCache())
    old = module.function
    callees.get(old, "asyncfunc")
    exec(SOURCE, module.__dict__)
    with pytest.raises(TypeError, match="is not this function"):
        callees.get(old, "asyncfunc")
    assert callees.get(module.function, "asyncfunc").target == "made_for_callees:function"


@pytest.mark.parametrize("thing", [1, "text", None, [], SignatureCache().get])
def test_what_is_no_function_is_refused(thing: Any) -> None:
    with pytest.raises(TypeError):
        Callees(SignatureCache()).get(thing, "asyncfunc")


def test_a_function_that_is_gone_is_forgotten(module: ModuleType) -> None:
    callees = Callees(SignatureCache())
    callees.get(module.function, "asyncfunc")
    gone = weakref.ref(module.function)
    del module.function
    gc.collect()
    assert gone() is None
