"""The keywords of a root actor are written down twice, and shown to whoever asks."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

import tractor_core as tractor
from tractor_core.app.keywords import RootKeywords
from tractor_core.app.options import RootOptions


def test_the_two_lists_agree() -> None:
    # Their types as written: some are for type checkers only, and cannot be evaluated.
    written = {
        name: getattr(kind, "__forward_arg__", kind) for name, kind in RootKeywords.__annotations__.items()
    }
    assert written == RootOptions.__annotations__


@pytest.mark.parametrize(
    "function",
    [tractor.open_root_actor, tractor.open_nursery, tractor.open_actor_cluster],
    ids=lambda function: function.__name__,
)
def test_they_are_shown(function: Callable[..., Any]) -> None:
    parameters = inspect.signature(function).parameters
    assert parameters.keys() >= set(RootOptions.__struct_fields__)
    assert parameters["heartbeat_interval"].default is None
    assert parameters["ext_types"].default == ()
    assert all(each.kind is not each.VAR_KEYWORD for each in parameters.values())


async def test_another_is_refused() -> None:
    with pytest.raises(TypeError, match="registry_adrs"):
        async with tractor.open_nursery(registry_adrs=["mem://nowhere"]):  # type: ignore[call-arg]
            raise AssertionError("not reached")
