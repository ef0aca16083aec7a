"""NumPy arrays: what arrives, without a copy, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hypothesis_numpy
from numpy.typing import NDArray
from tools import title

from tractor_core.errors import MsgTypeError
from tractor_core.msg import mk_codec
from tractor_core.msg import types as m
from tractor_core.msg.codec import CODEC_NAMES, CodecName, MsgCodec
from tractor_core.msg.numpy_arrays import ARRAY_CODE, ARRAYS, describe, restore

CODEC = mk_codec(ext_types=[ARRAYS])

NESTED = np.dtype([("id", "<i4"), ("place", "<f8", (2,)), ("inner", [("name", "S3"), ("when", "M8[ns]")])])
PADDED = np.dtype([("flag", "u1"), ("value", "f8")], align=True)

ARRAYS_TO_SEND = {
    "two dimensions": np.arange(6.0).reshape(2, 3),
    "Fortran order": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "no dimension": np.array(5.5),
    "empty": np.zeros((0, 3), np.int8),
    "big endian": np.array([1, 2, 3], ">u2"),
    "half": np.array([0.5, np.nan, np.inf], np.float16),
    "complex": np.array([1 + 2j]),
    "bool": np.array([[True], [False]]),
    "text": np.array(["a", "äöü"]),
    "bytes": np.array([b"a", b"bcd"]),
    "dates": np.array(["2024-02-29", "NaT"], "M8[D]"),
    "durations": np.array([5], "m8[ms]"),
    "structured": np.array([(1, (2.0, 3.0), (b"abc", "2024-01-01"))], NESTED),
    "padded": np.array([(1, 2.5)], PADDED),
    "no size": np.zeros(3, "V0"),
}


def equal(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())


@pytest.mark.parametrize("name", CODEC_NAMES)
@pytest.mark.parametrize("array", ARRAYS_TO_SEND.values(), ids=ARRAYS_TO_SEND)
def test_type_shape_and_order_arrive(array: NDArray[Any], name: CodecName) -> None:
    codec = CODEC.over(name).limited_to(dict[str, np.ndarray])
    arrived = codec.decode_payload(codec.encode_payload({"here": array}))["here"]
    assert type(arrived) is np.ndarray
    assert equal(arrived, array)
    assert arrived.flags.c_contiguous == array.flags.c_contiguous
    assert arrived.flags.f_contiguous == array.flags.f_contiguous


def has_titles(dtype: np.dtype[Any]) -> bool:
    """Whether a field has a second name, which no description of the type has."""
    fields = () if dtype.fields is None else dtype.fields.values()
    base = dtype.base
    return any(len(field) == 3 or has_titles(field[0]) for field in fields) or (
        base is not dtype and has_titles(base)
    )


shapes = hypothesis_numpy.array_shapes(min_dims=0, min_side=0, max_dims=4)
element_types = hypothesis_numpy.array_dtypes() | st.sampled_from([NESTED, PADDED])


@given(hypothesis_numpy.arrays(element_types, shapes))
def test_any_array_without_objects_arrives(array: NDArray[Any]) -> None:
    if has_titles(array.dtype):
        with pytest.raises(TypeError, match="cannot be sent"):
            CODEC.encode_payload(array)
        return
    arrived = CODEC.decode_payload(CODEC.encode_payload(array))
    assert equal(arrived, array)


def test_nothing_is_copied_on_receive() -> None:
    sent = np.arange(100_000, dtype=np.float32)
    frame = bytearray(CODEC.encode(m.Yield(4, {"rows": [sent, "text"]})))  # type: ignore[arg-type]
    message = CODEC.decode(frame)
    assert isinstance(message, m.Yield)
    arrived = CODEC.decode_payload(message.pld)["rows"][0]
    assert np.array_equal(arrived, sent)
    assert np.shares_memory(arrived, np.frombuffer(frame, np.uint8))
    assert not arrived.flags.owndata


def test_what_arrives_is_read_only() -> None:
    arrived = CODEC.decode_payload(CODEC.encode_payload(np.zeros(3)))
    with pytest.raises(ValueError, match="read-only"):
        arrived[0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        arrived.flags.writeable = True
    own = arrived.copy()
    own[0] = 1
    assert own.tolist() == [1, 0, 0]


def test_what_is_not_contiguous_is_sent_in_c_order() -> None:
    for array in (np.arange(10)[::2], np.arange(24).reshape(2, 3, 4).transpose(1, 0, 2)):
        arrived = CODEC.decode_payload(CODEC.encode_payload(array))
        assert np.array_equal(arrived, array) and arrived.flags.c_contiguous


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (np.array([object()]), "arrays of Python objects cannot be sent"),
        (np.zeros(1, [("a", "O"), ("b", "i4")]), "arrays of Python objects cannot be sent"),
        (np.ma.array([1]), "Encoding objects of type MaskedArray is unsupported"),
        (np.rec.array([(1,)], dtype=[("a", "i4")]), "Encoding objects of type recarray is unsupported"),
        (np.float64(1.5), "Encoding objects of type float64 is unsupported"),
    ],
    ids=["objects", "object field", "masked", "record", "scalar"],
)
@pytest.mark.parametrize("name", CODEC_NAMES)
def test_what_cannot_be_sent_says_why(value: Any, reason: str, name: CodecName) -> None:
    with pytest.raises(TypeError, match=rf"^cannot encode value\['rows'\]\[1\]: {reason}"):
        CODEC.over(name).encode_payload({"rows": [1, value]})


def damaged_parts() -> list[Any]:
    described, shape, order, data = ARRAYS.to_plain(np.arange(4))
    deep: Any = "<i8"
    for _ in range(150):
        deep = [deep, [1]]
    return [
        [described, shape, order, bytes(data)[:-1]],
        [described, [5], order, data],
        [described, [-1], order, data],
        [described, [2**62, 2**62], order, data],
        [described, [1], order, data],
        [described, shape, "K", data],
        ["O", shape, order, data],
        [{"names": ["a"], "formats": ["O"], "offsets": [0], "itemsize": 8}, shape, order, data],
        [{"names": ["a"], "formats": ["<i8"], "offsets": [2**40], "itemsize": 8}, shape, order, data],
        ["no such type", shape, order, data],
        ["(1000000000,)f8", shape, order, data],
        [7, shape, order, data],
        [deep, shape, order, data],
        [described, shape, order],
        None,
    ]


@pytest.mark.parametrize("parts", damaged_parts(), ids=lambda parts: title(parts)[:40])
def test_parts_that_do_not_fit_are_type_errors(parts: Any) -> None:
    plain = mk_codec()
    marked = msgspec.msgpack.Ext(ARRAY_CODE, msgspec.msgpack.encode(parts))
    payloads: list[tuple[MsgCodec, Any]] = [
        (CODEC, plain.encode_payload(marked)),
        (CODEC.limited_to(np.ndarray), plain.encode_payload(parts)),
        (CODEC.over("json").limited_to(np.ndarray), plain.over("json").encode_payload(parts)),
    ]
    for codec, payload in payloads:
        with pytest.raises(MsgTypeError):
            codec.decode_payload(payload)


@pytest.mark.parametrize(
    "dtype", [NESTED, PADDED, np.dtype("<f8"), np.dtype("M8[25s]"), np.dtype(("<i2", (3,)))]
)
def test_element_types_survive_their_description(dtype: np.dtype[Any]) -> None:
    assert restore(describe(dtype)) == dtype


def test_unannotated_json_has_the_plain_form() -> None:
    codec = CODEC.over("json")
    assert codec.decode_payload(codec.encode_payload(np.arange(2, dtype=np.uint8))) == [
        "|u1",
        [2],
        "C",
        "AAE=",
    ]


def test_without_numpy_the_import_says_what_to_install() -> None:
    script = "import sys; sys.modules['numpy'] = None; import tractor_core.msg.numpy_arrays"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert "pip install 'tractor-core[numpy]'" in done.stderr
