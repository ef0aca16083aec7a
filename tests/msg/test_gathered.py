"""Messages around large buffers: the same bytes, without a copy of what is large."""

from __future__ import annotations

import tracemalloc
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from tractor_core.msg import types as m
from tractor_core.msg.codec import wire_codec
from tractor_core.msg.gathered import LARGE, Gathered, gather, may_gather

CODEC = wire_codec()
BIG = bytes(range(256)) * (LARGE // 256 + 1)
#: As large, and encoded already.
RAW = Raw(msgspec.msgpack.encode(BIG))


def encoded(message: m.Message) -> Gathered:
    assert may_gather(message)
    found = gather(message, CODEC.encode)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "value",
    [
        BIG,
        memoryview(BIG),
        memoryview(BIG)[1:],
        RAW,
        [BIG],
        (1, BIG, "between", BIG, memoryview(BIG)),
        {"head": {"kind": 3}, "data": BIG, "rest": [RAW, None]},
    ],
    ids=["bytes", "view", "part", "raw", "list", "several", "dict"],
)
@pytest.mark.parametrize("kind", [m.Yield, m.Return, m.Started])
def test_the_bytes_are_those_of_the_plain_encoding(kind: Any, value: Any) -> None:
    message = kind(70_000, value)
    found = encoded(message)
    plain = CODEC.encode(message)
    assert bytes(found) == plain and len(found) == len(plain)


def test_arguments_by_position_and_by_name() -> None:
    message = m.Start(2, "module:name", "asyncfunc", [BIG, 1], {"data": memoryview(BIG), "x": 2})  # type: ignore[arg-type]
    found = encoded(message)
    assert bytes(found) == CODEC.encode(message)
    assert sum(buffer.obj is BIG for buffer in found.buffers) == 2


def test_nothing_large_is_copied() -> None:
    data = bytes(32 * LARGE)
    tracemalloc.start()
    try:
        found = encoded(m.Yield(2, {"data": data, "again": memoryview(data)}))  # type: ignore[arg-type]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found) > 2 * len(data)
    assert peak < LARGE


@pytest.mark.parametrize(
    "value",
    [
        bytearray(BIG),
        memoryview(bytearray(BIG)),
        memoryview(bytearray(BIG)).toreadonly(),
        BIG[:LARGE],
        "x" * LARGE * 2,
        3,
        None,
        [[[BIG]]],
        [BIG] * 17,
    ],
    ids=["bytearray", "writable", "still writable", "small", "text", "int", "none", "deep", "many"],
)
def test_what_may_change_or_is_small_or_hidden_is_encoded_as_ever(value: Any) -> None:
    assert gather(m.Yield(2, value), CODEC.encode) is None


def test_what_cannot_be_encoded_is_named_beside_a_large_buffer() -> None:
    with pytest.raises(TypeError, match="value.*object"):
        gather(m.Yield(2, {"data": BIG, "value": object()}), CODEC.encode)  # type: ignore[arg-type]


def test_other_messages_hold_nothing_large() -> None:
    for message in (m.Stop(2), m.Ping(1), m.Credit(2, 1, 1)):
        assert not may_gather(message)
        assert gather(message, CODEC.encode) is None


def test_a_call_with_small_arguments_is_not_looked_at_closely() -> None:
    assert not may_gather(m.Start(2, "a:b", "asyncfunc", (1, "two"), {"x": 3.0}))  # type: ignore[arg-type]
    assert may_gather(m.Start(2, "a:b", "asyncfunc", (1, b"two"), {}))  # type: ignore[arg-type]
    assert may_gather(m.Start(2, "a:b", "asyncfunc", (), {"x": [BIG]}))  # type: ignore[arg-type]
    assert may_gather(m.Start(2, "a:b", "asyncfunc", m.Raw(b"\x90"), m.Raw(b"\x80")))


@pytest.mark.parametrize("value", [b"x" * LARGE, [1, "two"], {"a": 1}, (), [None] * 17, 5])
def test_small_values_are_not_searched(value: object) -> None:
    assert not may_gather(m.Yield(4, value))  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [b"x" * (LARGE + 1), memoryview(b""), [b""], {"a": [1]}, ({},)])
def test_values_that_may_hold_large_buffers_are(value: object) -> None:
    assert may_gather(m.Yield(4, value))  # type: ignore[arg-type]
