"""The bounds: their checks, and their way to a child and back."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from tractor_core.ipc.limits import Limits


def test_they_survive_the_way_to_a_child() -> None:
    limits = Limits(handshake_timeout=2, max_frame=1 << 20, window_messages=3)
    wire = msgspec.msgpack.decode(msgspec.msgpack.encode(limits.to_dict()))
    assert Limits.from_dict(wire) == limits
    assert Limits.from_dict({}) == Limits()


def test_they_cannot_be_changed_later() -> None:
    with pytest.raises(AttributeError, match="immutable"):
        Limits().max_frame = 1  # type: ignore[misc]


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="no such limits: max_frames .*max_frame,"):
        Limits.from_dict({"max_frames": 1})


@pytest.mark.parametrize("name", Limits.__struct_fields__)
@pytest.mark.parametrize("value", [0, -1, "5", None, True, math.nan])
def test_what_is_no_positive_number_is_refused_by_name(name: str, value: Any) -> None:
    if (name, value) == ("shared_memory", 0):
        assert replace(Limits(), **{name: value}).bounds.max_shared == 0
        return
    with pytest.raises(ValueError, match=name):
        replace(Limits(), **{name: value})


@pytest.mark.parametrize("value", [False, 0.0, 100, 2**53])
def test_shared_memory_that_makes_no_sense_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="shared_memory"):
        Limits(shared_memory=value)


@pytest.mark.parametrize(
    "values",
    [
        {"max_frame": 1.5e6},
        {"max_frame": 2**32},
        {"max_handshake_frame": 100},
        {"max_frame": 8192, "max_handshake_frame": 16384},
    ],
)
def test_sizes_that_cannot_work_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="frame"):
        Limits(**values)
