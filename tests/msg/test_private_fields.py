"""Fields that begin with an underscore arrive, or are refused before anything is sent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Generic, NamedTuple, TypedDict, TypeVar

import attrs
import msgspec
import pytest
from msgspec import Raw

from tractor_core.errors import MsgTypeError
from tractor_core.msg import ExtType, limit_plds, mk_codec, mk_dec
from tractor_core.msg.codec import CODEC_NAMES, CodecName, tree_codecs, wire_codec
from tractor_core.msg.signature import Signature

T = TypeVar("T")


@attrs.define
class Account:
    owner: str
    _balance: int = 0


@attrs.define
class Required:
    _key: int


@attrs.define
class Inheriting(Account):
    branch: str = ""


@attrs.define
class Box(Generic[T]):
    item: T
    _seal: int = 0


@attrs.define
class Compared:
    owner: str
    _visits: int = attrs.field(init=False, default=0)


@attrs.define
class Caching:
    owner: str
    _found: dict[str, int] = attrs.field(init=False, eq=False, factory=dict)


@attrs.define
class Bank:
    accounts: dict[str, Account | None]


@dataclass
class Data:
    owner: str
    _balance: int = 0


@dataclass(slots=True)
class Slotted:
    owner: str
    _balance: int = 0


class Struct(msgspec.Struct):
    owner: str
    _balance: int = 0


class Row(NamedTuple):
    account: Account


class Options(TypedDict):
    account: Account


@dataclass
class Recursive:
    account: Account
    children: list[Recursive]


#: Types that have an attrs class with a private field in them, and what the error says of it.
LOSING: list[tuple[Any, str]] = [
    (Account, "'_balance' of the attrs class Account"),
    (Required, "'_key' of the attrs class Required"),
    (Inheriting, "'_balance' of the attrs class Inheriting"),
    (Box[int], "'_seal' of the attrs class Box"),
    (Compared, "'_visits' of the attrs class Compared"),
    (Bank, "'_balance' of the attrs class Account"),
    (Row, "'_balance' of the attrs class Account"),
    (Options, "'_balance' of the attrs class Account"),
    (Recursive, "'_balance' of the attrs class Account"),
    (list[Account | None], "'_balance' of the attrs class Account"),
    (Annotated[Account, ["not hashable"]], "'_balance' of the attrs class Account"),
]
losing = pytest.mark.parametrize(("kind", "field"), LOSING, ids=lambda item: str(item)[:40])


def annotated(name: str, kind: Any) -> Callable[..., Any]:
    async def endpoint(value): ...  # type: ignore[no-untyped-def]

    endpoint.__annotations__[name] = kind
    return endpoint


@losing
def test_an_argument_that_would_lose_a_field_is_refused(kind: Any, field: str) -> None:
    with pytest.raises(
        TypeError, match=rf"argument 'value' of .*endpoint\(\): the field {field} would not arrive"
    ):
        Signature(annotated("value", kind))


@losing
def test_a_result_that_would_lose_a_field_is_refused(kind: Any, field: str) -> None:
    with pytest.raises(TypeError, match=rf"result of .*endpoint\(\): the field {field} would not arrive"):
        Signature(annotated("return", kind))


@losing
def test_a_contract_that_would_lose_a_field_is_refused(kind: Any, field: str) -> None:
    for make in (mk_codec, mk_dec, mk_codec().limited_to):
        with pytest.raises(TypeError, match=f"payload type: the field {field} would not arrive"):
            make(kind)
    with pytest.raises(TypeError, match=field), limit_plds(kind):
        pass


def test_further_arguments_and_items_are_looked_at_too() -> None:
    async def rest(*values: Account) -> None: ...
    async def names(**values: Account) -> None: ...
    async def optional(value: Account = None) -> None: ...  # type: ignore[assignment]
    async def items() -> AsyncIterator[Account]:
        yield Account("a")

    for function in (rest, names, optional, items):
        with pytest.raises(TypeError, match="'_balance' of the attrs class Account would not arrive"):
            Signature(function)


def test_the_plain_form_of_an_extension_type_is_looked_at_too() -> None:
    def to_plain(value: complex) -> Account:
        return Account(str(value), 1)

    def from_plain(plain: Account) -> complex:
        return complex(plain.owner)

    codec = tree_codecs([ExtType(complex, 1, to_plain, from_plain)])["msgpack"]
    with pytest.raises(MsgTypeError, match="'_balance' of the attrs class Account would not arrive"):
        codec.decode_payload(codec.encode_payload(1j))


def round_trip(kind: Any, value: Any, name: CodecName) -> Any:
    codec = wire_codec(name)
    empty: Raw = codec.encode_payload([])
    _, bound = (
        Signature(annotated("value", kind)).by(codec).bind(empty, codec.encode_payload({"value": value}))
    )
    return bound["value"]


@pytest.mark.parametrize("name", CODEC_NAMES)
@pytest.mark.parametrize("value", [Data("a", 5), Slotted("a", 5), Struct("a", 5)], ids=repr)
def test_private_fields_of_other_classes_arrive(value: Any, name: CodecName) -> None:
    assert round_trip(type(value), value, name) == value


@pytest.mark.parametrize("name", CODEC_NAMES)
def test_a_field_that_is_no_part_of_the_value_is_made_anew(name: CodecName) -> None:
    sent = Caching("a")
    sent._found["x"] = 1
    arrived = round_trip(Caching, sent, name)
    assert arrived == sent and arrived._found == {}
