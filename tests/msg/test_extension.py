"""Extension types: classes of the user's own, known to a whole codec."""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar
from uuid import UUID

import attrs
import msgspec
import pytest
from extension_samples import FRACTION, MONEY, Money, from_plain_fraction, to_plain_fraction
from msgspec import Raw

from tractor_core.errors import MsgTypeError
from tractor_core.msg import ExtType, mk_codec
from tractor_core.msg.codec import CODEC_NAMES, CodecName, tree_codecs, wire_codec
from tractor_core.msg.extension import ExtNames, names_of
from tractor_core.msg.signature import Signature

if TYPE_CHECKING:
    from nowhere import NotYet  # type: ignore[import-not-found]

T = TypeVar("T")

CODECS = tree_codecs([MONEY, FRACTION])
PRICE = Money(Decimal("9.90"), "EUR")


class IntId(int):
    """msgspec does not send subclasses of int."""


class Names(dict[str, int]):
    """msgspec sends subclasses of dict as maps."""


class Plain(Generic[T]):
    """Any class."""


class Colour(enum.Enum):
    RED = 1.5


class Struct(msgspec.Struct):
    id: int


class Pair(NamedTuple):
    a: int


@dataclass
class Data:
    when: NotYet


@attrs.define
class Attributes:
    id: int


#: msgspec would never call ``to_plain`` for them.
NATIVE = [int, str, dict, Decimal, UUID, Names, Colour, Struct, Pair, Data, Attributes]


def test_values_arrive_without_an_annotation() -> None:
    value = {"prices": [PRICE, Money(Decimal(1), "CHF")], "share": (Fraction(1, 3),)}
    codec = CODECS["msgpack"]
    assert codec.decode_payload(codec.encode_payload(value)) == {**value, "share": [Fraction(1, 3)]}


def test_json_has_no_marks_and_gives_the_plain_form() -> None:
    codec = CODECS["json"]
    assert codec.decode_payload(codec.encode_payload([PRICE, Fraction(1, 3)])) == [["9.90", "EUR"], [1, 3]]


@pytest.mark.parametrize("name", CODEC_NAMES)
def test_annotated_values_arrive_in_both_encodings(name: CodecName) -> None:
    async def endpoint(price: Money, *shares: Fraction, **named: Money | None) -> list[Money]: ...

    signature = Signature(endpoint).by(CODECS[name])
    encode = CODECS[name].encode_payload
    args, kwargs = signature.bind(encode([PRICE, Fraction(1, 2)]), encode({"a": PRICE, "b": None}))
    assert (args, kwargs) == ([PRICE, Fraction(1, 2)], {"a": PRICE, "b": None})
    assert signature.decode_result(signature.check_result([PRICE])) == [PRICE]
    with pytest.raises(MsgTypeError) as caught:
        signature.bind(encode([PRICE, Fraction(1, 2)]), encode({"a": 5}))
    assert caught.value.path == "$.a"
    with pytest.raises(
        MsgTypeError, match=r"result of .*endpoint\(\) at \$.*\]: not a `Money`: Expected `array`"
    ):
        signature.check_result([PRICE, 5])


@pytest.mark.parametrize("name", CODEC_NAMES)
def test_a_required_and_a_defaulted_parameter(name: CodecName) -> None:
    async def endpoint(*, price: Money, other: Money = PRICE, count: int = 1) -> None: ...

    signature = Signature(endpoint).by(CODECS[name])
    encode = CODECS[name].encode_payload
    assert signature.bind(encode([]), encode({"price": PRICE})) == ([], {"price": PRICE})
    both = {"price": PRICE, "other": PRICE, "count": 2}
    assert signature.bind(encode([]), encode(both)) == ([], both)
    with pytest.raises(MsgTypeError) as caught:
        signature.bind(encode([]), encode({"price": PRICE, "other": 1}))
    assert caught.value.path == "$.other"


def test_what_one_codec_knows_another_need_not() -> None:
    async def endpoint(price: Money) -> Money: ...

    signature = Signature(endpoint)
    assert signature.by(CODECS["msgpack"]).result_type is Money
    assert signature.by(wire_codec()).result_type is Any


def test_the_plain_form_is_decoded_and_checked_by_annotation() -> None:
    assert MONEY.plain_type == tuple[Decimal, str]
    codec = CODECS["msgpack"].limited_to(Money)
    for plain, reason in ((["x", "EUR"], "decimal"), (["1", 5], "expected `str`"), (["1"], "length 2")):
        with pytest.raises(MsgTypeError, match=rf"(?i){reason}"):
            codec.decode_payload(wire_codec().encode_payload(plain))
        marked = msgspec.msgpack.Ext(MONEY.code, msgspec.msgpack.encode(plain))
        with pytest.raises(MsgTypeError, match=rf"(?i){reason}"):
            codec.decode_payload(wire_codec().encode_payload(marked))


def test_a_constructor_that_refuses_is_a_type_error() -> None:
    codec = CODECS["msgpack"]
    marked = Raw(msgspec.msgpack.encode(msgspec.msgpack.Ext(FRACTION.code, msgspec.msgpack.encode([1, 0]))))
    with pytest.raises(MsgTypeError, match=r"not a `Fraction`: Fraction\(1, 0\)"):
        codec.decode_payload(marked)
    with pytest.raises(MsgTypeError, match="unknown extension type 99"):
        codec.decode_payload(Raw(msgspec.msgpack.encode(msgspec.msgpack.Ext(99, b""))))


def test_subclasses_are_not_meant() -> None:
    class Tip(Money):
        pass

    with pytest.raises(TypeError, match="Encoding objects of type .*Tip is unsupported"):
        CODECS["msgpack"].encode_payload(Tip(Decimal(1), "EUR"))


def test_extension_types_may_hold_each_other() -> None:
    codec = CODECS["msgpack"]
    price = Money(Decimal(1), Fraction(1, 2))  # type: ignore[arg-type]
    with pytest.raises(MsgTypeError, match="Expected `str`"):
        codec.decode_payload(codec.encode_payload(price))
    loose = ExtType(Money, 7, lambda money: [money.amount, money.currency], lambda plain: Money(*plain))
    holding = mk_codec(ext_types=[loose, FRACTION])
    arrived = holding.decode_payload(holding.encode_payload(price))
    assert (arrived.amount, arrived.currency) == ("1", Fraction(1, 2))


def test_codes_and_classes_are_used_once() -> None:
    assert tree_codecs([MONEY, MONEY])["msgpack"].ext_types == (MONEY,)
    with pytest.raises(ValueError, match="Fraction and Money have the same code, 7"):
        tree_codecs([MONEY, ExtType(Fraction, 7, to_plain_fraction, from_plain_fraction)])
    with pytest.raises(ValueError, match="Fraction has two codes, 8 and 9"):
        tree_codecs([FRACTION, ExtType(Fraction, 9, to_plain_fraction, from_plain_fraction)])
    for code in (-1, 128):
        with pytest.raises(ValueError, match="0 to 127"):
            ExtType(Fraction, code, to_plain_fraction, from_plain_fraction)


@pytest.mark.parametrize("given", [5, Money, to_plain_fraction, "Money"])
def test_only_extension_types_are_taken(given: Any) -> None:
    for take in (tree_codecs, names_of):
        with pytest.raises(TypeError, match="ext_types takes ExtType objects, not "):
            take([MONEY, given])


def test_a_class_in_place_of_an_extension_type_is_told_what_to_write() -> None:
    with pytest.raises(TypeError, match=r"write ExtType\(Money, \.\.\.\)"):
        tree_codecs([Money])  # type: ignore[list-item]


@pytest.mark.parametrize("kind", [5, "Money", None, list[int], Money | Fraction, to_plain_fraction])
def test_an_extension_type_is_for_a_class(kind: Any) -> None:
    with pytest.raises(TypeError, match="an extension type is for a class, not for"):
        ExtType(kind, 1, str, str)


@pytest.mark.parametrize("kind", NATIVE, ids=lambda kind: kind.__name__)
def test_what_msgspec_sends_by_itself_is_no_extension_type(kind: type) -> None:
    with pytest.raises(
        TypeError, match=f"{kind.__name__} cannot be an extension type: msgspec sends it by itself"
    ):
        ExtType(kind, 1, str, str)
    with pytest.raises(TypeError, match="msgspec sends it by itself"):
        mk_codec(enc_hook=str, dec_hook=lambda kind, value: value, ext_types=[kind])


@pytest.mark.parametrize("kind", [IntId, deque, complex, Path, Plain, object])
def test_other_classes_may_be_extension_types(kind: type) -> None:
    assert ExtType(kind, 1, str, str).type is kind


def test_code_and_functions_of_an_extension_type_are_what_they_should_be() -> None:
    for code in ("1", 1.0, None):
        with pytest.raises(TypeError, match="an extension's code is an int"):
            ExtType(Money, code, to_plain_fraction, from_plain_fraction)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="to_plain and from_plain of Money are functions"):
        ExtType(Money, 1, to_plain_fraction, None)  # type: ignore[arg-type]


def test_a_codec_of_ones_own_beside_the_trees() -> None:
    """Hooks and extension types of a codec in force, with those of the channel it is used on."""
    own = mk_codec(enc_hook=hook_out, dec_hook=hook_in, ext_types=[complex])
    for name in CODEC_NAMES:
        codec = own.atop(CODECS[name])
        assert codec.name == name
        typed = codec.limited_to(tuple[complex, Money])
        assert typed.decode_payload(codec.encode_payload((1j, PRICE))) == (1j, PRICE)
    assert own.atop(CODECS["json"]) is own.atop(CODECS["json"])
    assert own.atop(wire_codec("msgpack")) is own
    with pytest.raises(ValueError, match="complex and Money have the same code, 7"):
        mk_codec(ext_types=[ExtType(complex, 7, hook_out, Fraction)]).atop(CODECS["msgpack"])


def hook_out(value: Any) -> Any:
    if isinstance(value, complex):
        return [value.real, value.imag]
    raise NotImplementedError(f"no idea what {type(value).__name__} is")


def hook_in(kind: type, value: Any) -> Any:
    assert kind is complex
    return complex(*value)


# -- inherited by name -----------------------------------------------------------------------


def test_children_find_the_same() -> None:
    names = names_of([MONEY, FRACTION])
    assert names[0] == ExtNames(
        7,
        "extension_samples:Money",
        "extension_samples:to_plain_money",
        "extension_samples:from_plain_money",
    )
    assert [each.load() for each in names] == [MONEY, FRACTION]


def test_what_children_could_not_find_is_refused() -> None:
    def local(plain: Any) -> Any: ...

    for from_plain, reason in (
        (local, "cannot be reached by a module and a name"),
        (lambda plain: plain, "cannot be reached by a module and a name"),
        (renamed, "define it at the top of a module"),
    ):
        with pytest.raises(TypeError, match=reason):
            ExtType(Fraction, 8, to_plain_fraction, from_plain).to_names()


def renamed(plain: Any) -> Any: ...


renamed.__qualname__ = "somebody_else"
