"""Codecs: round trips, what cannot be encoded, what is not a message, codecs of one's own."""

from __future__ import annotations

import contextvars
import math
from dataclasses import dataclass
from typing import Any

import attrs
import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from tools import title

from tractor_core.errors import MsgTypeError
from tractor_core.msg import types as m
from tractor_core.msg.codec import (
    CODEC_NAMES,
    apply_codec,
    current_codec,
    limit_plds,
    mk_codec,
    mk_dec,
    wire_codec,
)

MSGPACK = wire_codec("msgpack")
JSON = wire_codec("json")
both = pytest.mark.parametrize("codec", [MSGPACK, JSON], ids=CODEC_NAMES)

BOXED = m.BoxedError("a:B", "text", "c:D", relay_path=[("x", "1")], members=[m.BoxedError("e:F", "", "e:F")])
AID = m.Aid("worker", "0" * 32, 17, True)

MESSAGES: list[m.Message] = [
    m.Hello(AID, m.PROTOCOL, ["msgpack", "json"], b"\0\xff"),
    m.Auth("key", b"mac"),
    m.Ready(["tcp://127.0.0.1:1616"]),
    m.StartAck(4, "context"),
    m.Stop(4),
    m.Error(4, BOXED),
    m.CancelAck(4, False),
    m.Credit(4, 32, 1024),
    m.Open(4, 64, 8 << 20, "raise"),
    m.Ping(9),
    m.Pong(9),
]


@both
@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_messages_survive_both_codecs(codec: Any, message: m.Message) -> None:
    assert codec.decode(codec.encode(message)) == message


def test_every_message_has_a_tag_of_its_own() -> None:
    tags = [kind.__struct_config__.tag for kind in m.__msg_types__]
    assert tags == sorted(set(tags))


@both
@pytest.mark.parametrize("kind", [m.Started, m.Yield, m.Return])
def test_payload_is_encoded_in_place_and_arrives_raw(codec: Any, kind: Any) -> None:
    received = codec.decode(codec.encode(kind(4, {"a": [1, "b"]})))
    assert isinstance(received, kind)
    assert type(received.pld) is Raw
    assert codec.decode_payload(received.pld) == {"a": [1, "b"]}


@both
def test_payload_encoded_beforehand_is_the_same_on_the_wire(codec: Any) -> None:
    value = {"a": [1, None, 2.5]}
    assert codec.encode(m.Yield(4, codec.encode_payload(value))) == codec.encode(m.Yield(4, value))


@both
def test_start_carries_arguments(codec: Any) -> None:
    received = codec.decode(codec.encode(m.Start(4, "a:b", "asyncfunc", [1], {"x": 2})))
    assert codec.decode_payload(received.args) == [1]
    assert codec.decode_payload(received.kwargs) == {"x": 2}


def test_chunk_data_is_not_copied() -> None:
    frame = MSGPACK.encode(m.Chunk(1, True, memoryview(b"abc")))
    received = MSGPACK.decode(frame)
    assert isinstance(received, m.Chunk)
    assert received.data.obj is frame


@both
def test_encode_into_leaves_room_for_a_header(codec: Any) -> None:
    buffer = bytearray(b"....leftover leftover leftover")
    codec.encode_into(m.Ping(3), buffer, 4)
    assert buffer == b"...." + codec.encode(m.Ping(3))


plain_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(max_size=50),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(plain_values, st.integers(-1, 2**40))
def test_any_plain_value_survives_msgpack(value: Any, cid: int) -> None:
    received = MSGPACK.decode(MSGPACK.encode(m.Yield(cid, value)))
    assert isinstance(received, m.Yield)
    assert received.cid == cid
    assert MSGPACK.decode_payload(received.pld) == value


def test_what_json_does_to_values() -> None:
    def through(value: Any) -> Any:
        return JSON.decode_payload(JSON.encode_payload(value))

    assert through(math.nan) is None
    assert through({1: "a"}) == {"1": "a"}
    assert through(b"abc") == "YWJj"


# -- what is not a message -----------------------------------------------------------------


@given(st.binary(max_size=200))
def test_garbage_is_a_decode_error_and_nothing_else(garbage: bytes) -> None:
    for codec in (MSGPACK, JSON):
        try:
            codec.decode(garbage)
        except msgspec.DecodeError:
            pass


@pytest.mark.parametrize(
    "frame",
    [
        b"\x94\x02\xa2\xff\xff\xc4\x00",  # not UTF-8
        b"\x92\x0a" + b"\x91" * 60_000 + b"\x90",  # a nesting bomb where no payload is
        b"\x94\x05\x01\xa1a\xd9\xff" + b"\x91" * 60_000 + b"\x90",  # in the middle of a request
        b"\x92\x63\x01",  # a tag that nobody has
        b"GET / HTTP/1.1\r\n\r\n",
    ],
    ids=["encoding", "nesting", "request", "tag", "http"],
)
def test_hostile_frames_are_decode_errors(frame: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        MSGPACK.decode(frame)


DEEP = {"msgpack": b"\x91" * 60_000 + b"\x90", "json": b"[" * 60_000 + b"]" * 60_000}
NONE = {"msgpack": b"\x90", "json": b"[]"}


@both
@pytest.mark.parametrize("cid", [0, 130, 70_000, 2**40])
@pytest.mark.parametrize("kind", [m.Started, m.Yield, m.Return])
def test_a_payload_too_deep_to_read_belongs_to_its_dialog(codec: Any, cid: int, kind: Any) -> None:
    message = codec.decode(codec._encode(kind(cid, Raw(DEEP[codec.name]))))
    assert (type(message), message.cid) == (kind, cid)
    with pytest.raises(MsgTypeError, match="nested deeper than this actor can read"):
        codec.decode_payload(message.pld)


@both
@pytest.mark.parametrize("target", ["a:b", "a.module:ä€😀", "m" * 300 + ':quoted\\"name'])
@pytest.mark.parametrize("where", ["args", "kwargs"])
def test_a_request_too_deep_to_read_is_still_a_request(codec: Any, target: str, where: str) -> None:
    payloads = {"args": Raw(NONE[codec.name]), "kwargs": Raw(NONE[codec.name])}
    payloads[where] = Raw(DEEP[codec.name])
    message = codec.decode(codec._encode(m.Start(7, target, "asyncfunc", **payloads)))
    assert (message.cid, message.target, message.functype) == (7, target, "asyncfunc")
    for payload in (message.args, message.kwargs):
        with pytest.raises(MsgTypeError, match="nested deeper"):
            codec.decode_payload(payload)


#: What JavaScript writes for half a character, which is valid JSON and no text.
HALVES = [
    b'"\\ud83d"', b'"a\\uD800b and more"', b'"\\udc00x"', b'"\\ud800\\ud800"',
    b'{"\\ud800":1}', b'[1,["\\udfff"]]',
]  # fmt: skip


@pytest.mark.parametrize("half", HALVES)
def test_half_a_surrogate_pair_in_json_is_its_dialogs_error(half: bytes) -> None:
    for frame in (b"[8,4," + half + b"]", b'[5,4,"a:b","asyncfunc",[' + half + b"],{}]"):
        message = JSON.decode(frame)
        assert message.cid == 4  # type: ignore[union-attr]
        payload = message.args if isinstance(message, m.Start) else message.pld  # type: ignore[union-attr]
        with pytest.raises(MsgTypeError, match="half a surrogate pair"):
            JSON.decode_payload(payload)


def test_a_surrogate_pair_in_json_is_a_character() -> None:
    message = JSON.decode(b'[8,4,"\\ud83d\\ude00"]')
    assert JSON.decode_payload(message.pld) == "\U0001f600"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "frame", [b'[5,4,"a:\\ud800","asyncfunc",[],{}]', b'["\\ud800"]', b'[8,"\\ud800",1]']
)
def test_half_a_surrogate_pair_elsewhere_is_no_message(frame: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        JSON.decode(frame)


# -- what cannot be encoded ----------------------------------------------------------------


@dataclass
class Row:
    id: int
    callback: Any = None


@attrs.define
class Attributes:
    inner: Any


class Holder(msgspec.Struct):
    inner: Any


def function() -> None: ...


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (function, "value"),
        ([1, function], "value[1]"),
        ({"rows": [0, 1, 2, Row(3, function)]}, "value['rows'][3].callback"),
        ((1, {"a": object()}), "value[1]['a']"),
        (Holder(Attributes([function])), "value.inner.inner[0]"),
        ({"n": [2**70]}, "value['n'][0]"),
        ({"s": "\udc80"}, "value['s']"),
        ({"\udc80": 1}, "value{key '\\udc80'}"),
        ({(1, 2): [function]}, "value[(1, 2)][0]"),
    ],
    ids=title,
)
def test_the_path_to_what_cannot_be_encoded_is_named(value: Any, path: str) -> None:
    with pytest.raises(TypeError) as caught:
        MSGPACK.encode(m.Yield(4, value))
    assert str(caught.value).startswith(f"cannot encode {path}: ")
    with pytest.raises(TypeError) as again:
        MSGPACK.encode_payload(value)
    assert str(again.value) == str(caught.value)


def test_arguments_and_results_are_called_what_they_are() -> None:
    with pytest.raises(TypeError, match=r"cannot encode kwargs\['rows'\]\[0\].callback: Encoding objects"):
        MSGPACK.encode(m.Start(4, "a:b", "asyncfunc", [], {"rows": [Row(1, function)]}))
    with pytest.raises(TypeError, match=r"cannot encode args\[1\]: "):
        MSGPACK.encode(m.Start(4, "a:b", "asyncfunc", [1, function], {}))
    with pytest.raises(TypeError, match="cannot encode result: "):
        MSGPACK.encode(m.Return(4, function))


def test_an_item_of_a_set_is_named() -> None:
    with pytest.raises(TypeError, match=r"cannot encode value\{<function .*\}: "):
        MSGPACK.encode(m.Yield(4, {function}))


@both
def test_a_cycle_is_named(codec: Any) -> None:
    value: dict[str, Any] = {"a": []}
    value["a"].append(value)
    with pytest.raises(ValueError, match=r"cannot encode value\['a'\]\[0\]: it contains itself"):
        codec.encode(m.Yield(4, value))


@both
@pytest.mark.parametrize("depth", [201, 400, 20_000])
def test_deep_nesting_is_refused_by_the_sender(codec: Any, depth: int) -> None:
    for value in (nested(depth), {"pad": "x" * 10_000, "deep": nested(depth - 1)}):
        with pytest.raises(ValueError, match="nested deeper than 200"):
            codec.encode(m.Yield(4, value))
        with pytest.raises(ValueError, match="nested deeper than 200"):
            codec.encode_payload(value)


def test_deep_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="cannot encode kwargs: nested deeper"):
        MSGPACK.encode(m.Start(4, "a:b", "asyncfunc", [], {"x": nested(300)}))


@both
def test_nesting_of_exactly_the_limit_is_sent(codec: Any) -> None:
    received = codec.decode(codec.encode(m.Yield(4, nested(200))))
    assert codec.decode_payload(received.pld) == nested(200)


def test_wide_values_are_no_deep_values() -> None:
    value = [{"id": number, "items": [[number]]} for number in range(5000)]
    received = MSGPACK.decode(MSGPACK.encode(m.Yield(4, value)))
    assert MSGPACK.decode_payload(received.pld) == value  # type: ignore[union-attr]


def test_a_codec_still_works_after_a_failure() -> None:
    with pytest.raises(TypeError):
        MSGPACK.encode(m.Yield(4, function))
    assert MSGPACK.decode(MSGPACK.encode(m.Ping(1))) == m.Ping(1)


def test_memory_errors_are_not_disguised() -> None:
    def exhausted(value: Any) -> Any:
        raise MemoryError

    with pytest.raises(MemoryError):
        mk_codec(enc_hook=exhausted).encode(m.Yield(4, object()))


# -- codecs of one's own -------------------------------------------------------------------


class Point:
    def __init__(self, x: int, y: int) -> None:
        self.x, self.y = x, y

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and (other.x, other.y) == (self.x, self.y)

    __hash__ = None  # type: ignore[assignment]


class Named:
    def __init__(self, name: str) -> None:
        self.name = name


def to_plain(value: Any) -> Any:
    if isinstance(value, Point):
        return [value.x, value.y]
    if isinstance(value, Named):
        return value.name
    raise NotImplementedError(f"no idea what {type(value).__name__} is")


def from_plain(kind: type, value: Any) -> Any:
    return kind(*value) if kind is Point else kind(value)


def test_hooks_with_an_annotation_work_in_both_codecs() -> None:
    codec = mk_codec(dict[str, list[Point]], enc_hook=to_plain, dec_hook=from_plain)
    for own in (codec, codec.over("json")):
        raw = own.encode_payload({"a": [Point(1, 2)]})
        assert own.decode_payload(raw) == {"a": [Point(1, 2)]}


def test_extension_types_need_no_annotation() -> None:
    codec = mk_codec(enc_hook=to_plain, dec_hook=from_plain, ext_types=[Point, Named])
    value = codec.decode_payload(codec.encode_payload([Point(1, 2), {"n": Named("x")}, 3]))
    assert value[0] == Point(1, 2)
    assert value[1]["n"].name == "x"
    assert value[2] == 3
    typed = codec.limited_to(list[Point])
    assert typed.decode_payload(codec.encode_payload([Point(3, 4)])) == [Point(3, 4)]
    with pytest.raises(MsgTypeError, match="unknown extension type 7"):
        codec.decode_payload(msgspec.msgpack.encode(msgspec.msgpack.Ext(7, b"")))


def test_a_hook_that_refuses_is_named_with_the_path() -> None:
    codec = mk_codec(enc_hook=to_plain)
    with pytest.raises(TypeError, match=r"cannot encode value\[1\]: no idea what object is"):
        codec.encode_payload([Point(1, 2), object()])


def test_extension_types_without_hooks_are_misuse() -> None:
    with pytest.raises(ValueError, match="ext_types need both"):
        mk_codec(ext_types=[Point])


def test_plainness_decides_whether_a_payload_may_be_encoded_with_its_envelope() -> None:
    assert wire_codec().plain
    assert mk_codec(int).plain
    assert not mk_codec(enc_hook=to_plain).plain


def test_unknown_codec() -> None:
    with pytest.raises(ValueError, match="unknown codec 'xml'"):
        wire_codec("xml")
    assert wire_codec("json") is JSON


def test_a_decoder_says_where_a_value_is_wrong() -> None:
    decoder = mk_dec(dict[str, list[int]])
    assert decoder.spec == dict[str, list[int]]
    assert decoder.decode(MSGPACK.encode_payload({"a": [1]})) == {"a": [1]}
    with pytest.raises(MsgTypeError) as caught:
        mk_dec(list[Row]).decode(MSGPACK.encode_payload([{"id": 1}, {"id": "two"}]), "value")
    error = caught.value
    assert error.path == "$[1].id"
    assert error.bad_msg == "two"
    assert error.expected_msg_type == list[Row]
    assert str(error).startswith("MsgTypeError: value at $[1].id: expected `int`, got `str`")


def test_a_decoder_takes_the_other_encoding_too() -> None:
    assert mk_dec(int).over("json").decode(b"5") == 5


def test_apply_codec_is_undone_and_nested() -> None:
    outer, inner = mk_codec(int), mk_codec(str)
    assert current_codec() is wire_codec()
    with apply_codec(outer):
        with apply_codec(inner):
            assert current_codec() is inner
        assert current_codec() is outer
    assert current_codec() is wire_codec()


async def test_child_tasks_inherit_the_codec() -> None:
    codec = mk_codec(int)
    seen = []

    async def child() -> None:
        await trio.lowlevel.checkpoint()
        seen.append(current_codec())

    async with trio.open_nursery() as nursery:
        with apply_codec(codec):
            nursery.start_soon(child)
        nursery.start_soon(child)
    assert sorted(map(id, seen)) == sorted(map(id, (codec, wire_codec())))


def test_a_codec_left_in_another_context_is_tolerated() -> None:
    manager = apply_codec(mk_codec(int))
    contextvars.copy_context().run(manager.__enter__)
    manager.__exit__(None, None, None)
    assert current_codec() is wire_codec()


def test_limit_plds_keeps_the_hooks_in_force() -> None:
    with apply_codec(mk_codec(enc_hook=to_plain, dec_hook=from_plain)) as codec:
        with limit_plds(Point | None) as decoder:
            assert current_codec().pld_spec == Point | None
            assert decoder.decode(codec.encode_payload(Point(1, 2))) == Point(1, 2)
    with limit_plds(int) as decoder, pytest.raises(MsgTypeError):
        decoder.decode(MSGPACK.encode_payload("x"))


def test_specs() -> None:
    codec = mk_codec(int)
    assert codec.msg_spec == m.__msg_spec__
    assert codec.pld_spec is int
    assert repr(codec) == "<MsgCodec msgpack pld_spec=<class 'int'>>"
