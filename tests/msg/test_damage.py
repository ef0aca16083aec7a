"""Any value round-trips; a damaged frame is a typed error or another valid value, never anything else."""

from __future__ import annotations

import datetime
import decimal
import math
import uuid
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import pytest
from extension_samples import FRACTION, MONEY, Money
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tractor_core.errors import MsgTypeError
from tractor_core.msg import types as m
from tractor_core.msg.boxing import box, unbox
from tractor_core.msg.codec import CODEC_NAMES, CodecName, tree_codecs, wire_codec
from tractor_core.msg.numpy_arrays import ARRAYS
from tractor_core.msg.signature import Signature

CODECS = tree_codecs([ARRAYS, MONEY, FRACTION])

formats = pytest.mark.parametrize("name", CODEC_NAMES)


@dataclass
class Record:
    id: uuid.UUID
    when: datetime.datetime
    amount: decimal.Decimal
    tags: frozenset[str] = frozenset()
    inner: list[Record] = field(default_factory=list)


plain_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
moneys = st.builds(Money, st.decimals(allow_nan=False), st.text(max_size=3))
shares = st.fractions()
records = st.builds(
    Record,
    st.uuids(),
    st.datetimes(timezones=st.just(datetime.UTC)),
    st.decimals(allow_nan=False),
    st.frozensets(st.text(max_size=5), max_size=3),
    st.just([]),
)


@formats
@given(plain_values)
def test_any_plain_value_round_trips(name: CodecName, value: Any) -> None:
    codec = wire_codec(name)
    received = codec.decode(codec.encode(m.Yield(4, value)))
    assert isinstance(received, m.Yield)
    assert codec.decode_payload(received.pld) == value


@formats
@given(st.lists(records, max_size=3), st.dictionaries(st.integers(), moneys, max_size=3), shares)
def test_any_typed_value_round_trips(
    name: CodecName, table: list[Record], prices: dict[int, Money], share: Any
) -> None:
    small = {number: price for number, price in prices.items() if abs(number) < 2**63}
    codec = CODECS[name].limited_to(tuple[list[Record], dict[int, Money], FRACTION.type])  # type: ignore[name-defined]
    if abs(share.numerator) < 2**63 and share.denominator < 2**63:
        value = (table, small, share)
        assert codec.decode_payload(codec.encode_payload(value)) == value


async def endpoint(
    x: int, record: Record, *rest: float, price: Money | None = None, **others: Any
) -> None: ...


SAMPLES: list[m.Message] = [
    m.Yield(4, {"a": [1, -1, None, True, {"b": 2.5}], "c": b"bytes"}),  # type: ignore[arg-type]
    m.Yield(70_000, [Money(decimal.Decimal("1.5"), "EUR"), FRACTION.type(1, 3)]),  # type: ignore[arg-type]
    m.Return(1, np.arange(12, dtype=np.int16).reshape(3, 4)),  # type: ignore[arg-type]
    m.Started(2, np.array([(1, 2.5)], [("id", "<i4"), ("value", "<f8")])),  # type: ignore[arg-type]
    m.Start(
        2,
        "module:endpoint",
        "asyncfunc",
        [
            5,
            Record(uuid.UUID(int=1), datetime.datetime(2024, 2, 29, tzinfo=datetime.UTC), decimal.Decimal(1)),
        ],  # type: ignore[arg-type]
        {"price": Money(decimal.Decimal(1), "CHF"), "other": "text"},  # type: ignore[arg-type]
    ),
    m.Error(3, box(ExceptionGroup("g", [ValueError("v", 1), KeyError("k")]), ("name", "uuid"))),
]


def take(name: CodecName, frame: bytes) -> None:
    """What a receiver does with a frame, whoever it is for; only these errors may come of it."""
    codec = CODECS[name]
    try:
        message = codec.decode(frame)
    except msgspec.DecodeError:
        return
    if isinstance(message, m.Error):
        error: Any = unbox(message.error)
        assert isinstance(str(error), str)
        assert isinstance(getattr(error, "unwrap", lambda: error)(), BaseException)
    try:
        if isinstance(message, m.PayloadMsg):
            arrived = codec.decode_payload(message.pld)
            repr(arrived)
            codec.limited_to(Money | None).decode_payload(message.pld)
        elif isinstance(message, m.Start):
            Signature(endpoint).by(codec).bind(message.args, message.kwargs)
    except MsgTypeError as error:
        assert error.path.startswith("$")


@formats
@pytest.mark.parametrize("message", SAMPLES, ids=lambda message: type(message).__name__)
def test_every_single_bit_of_damage(name: CodecName, message: m.Message) -> None:
    frame = CODECS[name].encode(message)
    for position in range(len(frame) * 8):
        damaged = bytearray(frame)
        damaged[position // 8] ^= 1 << position % 8
        take(name, bytes(damaged))


@formats
@settings(max_examples=200)
@given(plain_values | moneys | shares, st.data())
def test_damage_of_any_frame(name: CodecName, value: Any, data: st.DataObject) -> None:
    try:
        frame = bytearray(CODECS[name].encode(m.Yield(4, value)))
    except TypeError:
        return  # a fraction beyond 64 bits
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    take(name, bytes(frame))


@given(st.binary(max_size=60), st.integers(0, 127))
@example(b"\x94\xa3<i8\x91\xce\x7f\xff\xff\xff\xa1C\xc4\x00", ARRAYS.code)
def test_any_bytes_under_any_code(data: bytes, code: int) -> None:
    codec = CODECS["msgpack"]
    payload = msgspec.Raw(msgspec.msgpack.encode({"x": msgspec.msgpack.Ext(code, data)}))
    try:
        codec.decode_payload(payload)
    except MsgTypeError:
        pass


def test_what_msgpack_keeps_and_json_does_not() -> None:
    for value in (math.inf, b"bytes"):
        kept = wire_codec("msgpack")
        assert kept.decode_payload(kept.encode_payload(value)) == value
        lost = wire_codec("json")
        assert lost.decode_payload(lost.encode_payload(value)) != value
