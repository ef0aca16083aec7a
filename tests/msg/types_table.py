"""What arrives of values of each type: annotated, not annotated, and under a ``pld_spec``, over both codecs.

``python tests/msg/types_table.py`` writes the table that the documentation includes; a test compares.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import math
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import InitVar, dataclass
from fractions import Fraction
from ipaddress import IPv4Address
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypedDict, TypeVar

import attrs
import msgspec
import numpy as np

from tractor_core.errors import MsgTypeError
from tractor_core.msg import ExtType
from tractor_core.msg.annotations import decodable
from tractor_core.msg.codec import CODEC_NAMES, MsgCodec, tree_codecs
from tractor_core.msg.numpy_arrays import ARRAYS
from tractor_core.msg.signature import Signature

TABLE = Path(__file__).resolve().parent.parent.parent / "docs" / "reference" / "types-table.txt"

T = TypeVar("T")


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Price(enum.Enum):
    LOW = 1.5


class Planet(enum.Enum):
    MARS = (6.4e23, 3389.5)


class Mixed(enum.Enum):
    A = "a"
    B = 2


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


@dataclass
class Data:
    id: int
    ratio: float = 0.5


@attrs.define
class Attributes:
    id: int


@attrs.define
class Private:
    id: int
    _note: str = ""


@dataclass
class PrivateData:
    id: int
    _note: str = ""


@dataclass
class Initial:
    id: int
    start: InitVar[int] = 3


class Struct(msgspec.Struct):
    id: int


class Box(msgspec.Struct, Generic[T]):
    item: T


class Cat(msgspec.Struct, tag=True):
    lives: int


class Dog(msgspec.Struct, tag=True):
    name: str


class Pair(NamedTuple):
    a: int
    b: str


class Options(TypedDict):
    depth: int


class Text(str):
    __slots__ = ()


class Plain:
    """Nobody was told how this travels."""


def to_plain(fraction: Fraction) -> tuple[int, int]:
    return fraction.numerator, fraction.denominator


def from_plain(plain: tuple[int, int]) -> Fraction:
    return Fraction(*plain)


CODECS = tree_codecs([ARRAYS, ExtType(Fraction, 1, to_plain, from_plain)])

NOON = datetime.datetime(2024, 2, 29, 12, 30, tzinfo=datetime.UTC)
ID = uuid.UUID(int=7)

#: How an annotation is written, the annotation, and a value. Long representations are given.
ROWS: list[tuple[str, Any, Any]] = [
    ("None", None, None),
    ("bool", bool, True),
    ("int", int, 5),
    ("int", int, 2**64 - 1),
    ("int", int, 2**64),
    ("float", float, 2.5),
    ("float", float, math.nan),
    ("float", float, math.inf),
    ("str", str, "ä"),
    ("str", str, "\ud800"),
    ("Text", Text, Text("subclass of str")),
    ("bytes", bytes, b"ab"),
    ("bytearray", bytearray, bytearray(b"ab")),
    ("memoryview", memoryview, memoryview(b"ab")),
    ("list[int]", list[int], [1, 2]),
    ("Iterable[int]", Iterable[int], [1, 2]),
    ("tuple[int, str]", tuple[int, str], (1, "a")),
    ("set[int]", set[int], {1}),
    ("frozenset[int]", frozenset[int], frozenset({1})),
    ("deque[int]", deque[int], deque([1])),
    ("range", range, range(3)),
    ("dict[str, int]", dict[str, int], {"a": 1}),
    ("dict[int, str]", dict[int, str], {1: "a"}),
    ("dict[tuple[int, int], str]", dict[tuple[int, int], str], {(1, 2): "a"}),
    ("Pair (NamedTuple)", Pair, Pair(1, "b")),
    ("Options (TypedDict)", Options, {"depth": 3}),
    ("Data (dataclass)", Data, Data(1)),
    ("Attributes (attrs)", Attributes, Attributes(1)),
    ("PrivateData (dataclass with a field _note)", PrivateData, PrivateData(1, "x")),
    ("Private (attrs with a field _note)", Private, Private(1, "x")),
    ("Initial (dataclass with an InitVar)", Initial, Initial(1)),
    ("Struct (msgspec.Struct)", Struct, Struct(1)),
    ("Box[int] (generic Struct)", Box[int], Box(1)),
    ("Cat | Dog (tagged Structs)", Cat | Dog, Dog("rex")),
    ("Colour (Enum)", Colour, Colour.RED),
    ("Level (IntEnum)", Level, Level.HIGH),
    ("Rights (Flag)", Rights, Rights.READ | Rights.WRITE),
    ("Price (Enum of floats)", Price, Price.LOW),
    ("Planet (Enum of tuples)", Planet, Planet.MARS),
    ("Mixed (Enum of str and int)", Mixed, Mixed.B),
    ("Literal[Colour.RED]", Literal[Colour.RED], Colour.RED),
    ('Literal["a", "b"]', Literal["a", "b"], "b"),
    ("Annotated[int, Meta(gt=0)]", Annotated[int, msgspec.Meta(gt=0)], 3),
    ("int | None", int | None, None),
    ("str | UUID", str | uuid.UUID, ID),
    ("datetime", datetime.datetime, NOON),
    ("datetime (naive)", datetime.datetime, NOON.replace(tzinfo=None)),
    ("date", datetime.date, NOON.date()),
    ("time", datetime.time, NOON.time()),
    ("timedelta", datetime.timedelta, datetime.timedelta(seconds=90)),
    ("UUID", uuid.UUID, ID),
    ("Decimal", decimal.Decimal, decimal.Decimal("1.10")),
    ("IPv4Address", IPv4Address, IPv4Address("127.0.0.1")),
    ("PurePosixPath", PurePosixPath, PurePosixPath("/a")),
    ("complex", complex, 1j),
    ("ValueError", ValueError, ValueError("x")),
    ("Callable[..., int]", Callable[..., int], len),
    ("Plain (any class)", Plain, Plain()),
    ("Fraction (in ext_types)", Fraction, Fraction(1, 3)),
    ("numpy.ndarray (in ext_types)", np.ndarray, np.array([1, 2], np.uint8)),
    ("numpy.float64", np.float64, np.float64(1.5)),
]

SAME = "as sent"
NOT_SENT = "``TypeError`` at the sender"
REFUSED = "``MsgTypeError``"
IMPOSSIBLE = "``TypeError``, the contract cannot be made"


def same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    return bool(one == other) or (one != one and other != other)


def by_annotation(codec: MsgCodec, kind: Any, value: Any) -> Any:
    async def endpoint(x): ...  # type: ignore[no-untyped-def]

    endpoint.__annotations__["x"] = kind
    kwargs = codec.encode_payload({"x": value})
    _, bound = Signature(endpoint).by(codec).bind(codec.encode_payload([]), kwargs)
    return bound["x"]


def without(codec: MsgCodec, kind: Any, value: Any) -> Any:
    return by_annotation(codec, Any, value)


class ImpossibleContract(Exception):
    """No decoder can be made for the type."""


def by_contract(codec: MsgCodec, kind: Any, value: Any) -> Any:
    try:
        contract = codec.limited_to(kind)
    except TypeError as error:
        raise ImpossibleContract from error
    return contract.decode_payload(contract.encode_payload(value))


def outcome(way: Callable[[MsgCodec, Any, Any], Any], codec: MsgCodec, kind: Any, value: Any) -> str:
    try:
        arrived = way(codec, kind, value)
    except MsgTypeError:
        return REFUSED
    except ImpossibleContract:
        return IMPOSSIBLE
    except TypeError:
        return NOT_SENT
    return SAME if same(arrived, value) else f"``{arrived!r}``"


def cell(way: Callable[[MsgCodec, Any, Any], Any], kind: Any, value: Any) -> str:
    msgpack, json = (outcome(way, CODECS[name], kind, value) for name in CODEC_NAMES)
    return msgpack if msgpack == json else f"{msgpack}; JSON: {json}"


def cells(kind: Any, value: Any) -> list[str]:
    """What arrives by annotation, without, and under a contract."""
    annotated = cell(by_annotation, kind, value)
    degraded = decodable(kind, CODECS["msgpack"].knows) is Any
    if degraded and annotated != NOT_SENT:
        annotated += " (taken for ``Any``)"
    return [annotated, cell(without, kind, value), cell(by_contract, kind, value)]


def shown(value: Any) -> str:
    text = repr(value)
    return f"``{text}``" if " at 0x" not in text else f"a ``{type(value).__name__}``"


def table() -> str:
    """The table as reST."""
    lines = [
        ".. list-table::",
        "   :header-rows: 1",
        "   :class: types",
        "",
        "   * - type",
        "     - value sent",
        "     - annotated so",
        "     - unannotated",
        "     - ``pld_spec``",
    ]
    for label, kind, value in ROWS:
        name, _, remark = label.partition(" (")
        lines += [f"   * - ``{name}``{f' ({remark}' if remark else ''}", f"     - {shown(value)}"]
        lines += [f"     - {each}" for each in cells(kind, value)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    TABLE.write_text(table(), encoding="utf-8")
