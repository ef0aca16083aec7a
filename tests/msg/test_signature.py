"""Signatures: what arrives as what, and what is refused."""

from __future__ import annotations

import datetime
import decimal
import enum
import gc
import sys
import uuid
import weakref
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import InitVar, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypedDict, Unpack

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from tractor_core.errors import MsgTypeError
from tractor_core.msg.codec import wire_codec
from tractor_core.msg.namespace import ContextMark
from tractor_core.msg.payload import CODEC_NAMES, CodecName
from tractor_core.msg.signature import CodedSignature, Signature, SignatureCache

if TYPE_CHECKING:
    from nowhere import Unknown  # type: ignore[import-not-found]

formats = pytest.mark.parametrize("codec", CODEC_NAMES)


def raw(value: Any, codec: CodecName = "msgpack") -> Raw:
    return wire_codec(codec).encode_payload(value)


def coded(function: Callable[..., Any], codec: CodecName = "msgpack") -> CodedSignature:
    return Signature(function).by(wire_codec(codec))


def bind(function: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[list[Any], dict[str, Any]]:
    """Through the wire, in both encodings, which must agree."""
    signature = Signature(function)
    bound = [signature.by(wire_codec(name)).bind(raw(args, name), raw(kwargs, name)) for name in CODEC_NAMES]
    assert bound[0] == bound[1]
    return bound[0]


def refused(function: Callable[..., Any], *args: Any, **kwargs: Any) -> MsgTypeError:
    with pytest.raises(MsgTypeError) as caught:
        coded(function).bind(raw(args), raw(kwargs))
    with pytest.raises(MsgTypeError) as in_json:
        coded(function, "json").bind(raw(args, "json"), raw(kwargs, "json"))
    # "null" and "None" are the two encodings' names for the same.
    assert in_json.value.message.replace("null", "None") == caught.value.message
    assert in_json.value.path == caught.value.path
    return caught.value


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


@dataclass
class Data:
    when: datetime.datetime
    rows: list[Point]


class Point(msgspec.Struct):
    x: int
    y: int = 0


@attrs.define
class Attributes:
    ids: set[uuid.UUID]


class Pair(NamedTuple):
    a: int
    b: str


class Options(TypedDict):
    depth: int


class Cat(msgspec.Struct, tag=True):
    lives: int


class Dog(msgspec.Struct, tag=True):
    name: str


class Opaque:
    """msgspec knows nothing of this class."""


# -- what arrives --------------------------------------------------------------------------

NOW = datetime.datetime(2024, 5, 17, 12, 30, tzinfo=datetime.UTC)
ID = uuid.UUID(int=7)

#: A type and a value of it: each arrives as what it was sent as, as argument and as result.
TYPES: list[tuple[Any, Any]] = [
    (int, 5),
    (float, 2.5),
    (bool, True),
    (str, "text"),
    (bytes, b"\0\xff"),
    (bytearray, bytearray(b"ab")),
    (None, None),
    (int | None, None),
    (list[int], [1, 2]),
    (tuple[int, str], (1, "a")),
    (tuple[int, ...], (1, 2, 3)),
    (set[int], {1, 2}),
    (frozenset[str], frozenset({"a"})),
    (dict[str, list[int]], {"a": [1]}),
    (dict[int, str], {1: "a"}),
    (uuid.UUID, ID),
    (decimal.Decimal, decimal.Decimal("1.10")),
    (datetime.datetime, NOW),
    (datetime.date, NOW.date()),
    (datetime.time, NOW.time()),
    (datetime.timedelta, datetime.timedelta(seconds=90)),
    (Colour, Colour.RED),
    (Level, Level.LOW),
    (Literal["a", "b"], "b"),
    (Annotated[int, msgspec.Meta(gt=0)], 3),
    (Point, Point(1, 2)),
    (Data, Data(NOW, [Point(1)])),
    (Attributes, Attributes({ID})),
    (Pair, Pair(1, "b")),
    (Options, {"depth": 3}),
    (Cat | Dog, Dog("rex")),
    (list[Data | None], [None, Data(NOW, [])]),
    (Any, {"anything": [1]}),
]


@formats
@pytest.mark.parametrize(("kind", "value"), TYPES, ids=lambda item: str(item)[:40])
def test_annotated_values_arrive_as_what_they_were_sent_as(kind: Any, value: Any, codec: CodecName) -> None:
    async def endpoint(x, y="default"): ...  # type: ignore[no-untyped-def]

    endpoint.__annotations__ = {"x": kind, "y": str, "return": kind}
    signature = coded(endpoint, codec)
    for args, kwargs in (([value], {}), ([], {"x": value})):
        given_args, given_kwargs = signature.bind(raw(args, codec), raw(kwargs, codec))
        (arrived,) = [*given_args, *given_kwargs.values()]
        assert arrived == value
        assert type(arrived) is type(value)
    checked = signature.check_result(value)
    sent = checked if isinstance(checked, Raw) else raw(checked, codec)
    assert signature.decode_result(sent) == value


points = st.builds(Point, st.integers(-(2**53), 2**53), st.integers(-(2**53), 2**53))
typed_values = st.dictionaries(
    st.uuids(),
    st.lists(st.builds(Data, st.datetimes(timezones=st.just(datetime.UTC)), st.lists(points, max_size=2))),
    max_size=3,
)


@given(typed_values, st.decimals(allow_nan=False, allow_infinity=False), st.sets(st.integers(0, 2**53)))
def test_any_typed_value_arrives_as_it_was_sent(
    table: dict[uuid.UUID, list[Data]], amount: decimal.Decimal, ids: set[int]
) -> None:
    async def endpoint(
        amount: decimal.Decimal, table: dict[uuid.UUID, list[Data]], *, ids: frozenset[int]
    ) -> None: ...

    assert bind(endpoint, amount, table=table, ids=ids) == ([amount], {"table": table, "ids": ids})


async def plain(a, b=2, *, c, d=4): ...  # type: ignore[no-untyped-def]


async def typed(a: int, b: str = "b", *, c: Point, d: list[int] | None = None) -> Point: ...


async def spread(a: int, *rest: Point, **others: float) -> None: ...


async def loose(a, *rest, **others): ...  # type: ignore[no-untyped-def]


async def positional_only(a: int, b: int = 2, /, c: int = 3): ...  # type: ignore[no-untyped-def]


async def nothing(): ...  # type: ignore[no-untyped-def]


def test_positions_and_names() -> None:
    assert bind(plain, 1, c=3) == ([1], {"c": 3})
    assert bind(plain, a=1, c=3, d=5) == ([], {"a": 1, "c": 3, "d": 5})
    assert bind(plain, 1, 2, c=3) == ([1, 2], {"c": 3})
    assert bind(typed, 1, c={"x": 1}) == ([1], {"c": Point(1)})
    assert bind(typed, 1, "x", c=Point(1), d=None) == ([1, "x"], {"c": Point(1), "d": None})
    assert bind(spread, 1, Point(2), Point(3), z=1.5) == ([1, Point(2), Point(3)], {"z": 1.5})
    assert bind(spread, a=1, z=1) == ([], {"a": 1, "z": 1.0})
    assert bind(loose, 1, "x", k=[1]) == ([1, "x"], {"k": [1]})
    assert bind(positional_only, 1, c=4) == ([1], {"c": 4})
    assert bind(nothing) == ([], {})


def test_a_function_may_name_parameters_as_it_likes() -> None:
    async def endpoint(self: int, name: str, cls: int = 0, kwargs: int = 1) -> None: ...

    assert bind(endpoint, self=1, name="n", kwargs=2) == ([], {"self": 1, "name": "n", "kwargs": 2})


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "text", "path"),
    [
        (plain, [1], {}, "plain() is missing argument 'c'", "$.c"),
        (plain, [], {}, "plain() is missing arguments 'a', 'c'", "$.a"),
        (typed, [], {"a": 1}, "typed() is missing argument 'c'", "$.c"),
        (plain, [1], {"c": 1, "z": 1}, "plain() got an unexpected argument 'z' (it takes: b, c, d)", "$.z"),
        (typed, [1], {"c": {"x": 1}, "z": 1}, "got an unexpected argument 'z'", "$.z"),
        (nothing, [], {"z": 1}, "got an unexpected argument 'z' (it takes: none by name)", "$.z"),
        (plain, [1], {"a": 1, "c": 3}, "got two values for argument 'a'", "$.a"),
        (typed, [1], {"a": 1, "c": {"x": 1}}, "got two values for argument 'a'", "$.a"),
        (spread, [1], {"a": 1}, "got two values for argument 'a'", "$.a"),
        (plain, [1, 2, 3], {"c": 1}, "takes 2 positional arguments, more were given", "$"),
        (nothing, [1], {}, "takes 0 positional arguments, more were given", "$"),
        (positional_only, [], {"c": 1}, "is missing argument 'a'", "$.a"),
        (positional_only, [1], {"b": 1}, "got an unexpected argument 'b'", "$.b"),
        (typed, ["x"], {"c": {"x": 1}}, "argument 'a' at $.a: expected `int`, got `str`", "$.a"),
        (typed, [1], {"c": {"x": "1"}}, "argument 'c' at $.c.x: expected `int`, got `str`", "$.c.x"),
        (typed, [1], {"c": {}}, "argument 'c' at $.c: object missing required field `x`", "$.c"),
        (typed, [1], {"c": {"x": 1}, "d": [1, "2"]}, "argument 'd' at $.d[1]: expected `int`", "$.d[1]"),
        (spread, [1, {"x": "1"}], {}, "argument '1' at $.1.x: expected `int`", "$.1.x"),
        (spread, [1], {"z": "1"}, "argument 'z' at $.z: expected `float`", "$.z"),
        (spread, [], {"z": 1.0}, "is missing argument 'a'", "$.a"),
    ],
)
def test_what_does_not_fit_is_named(
    function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any], text: str, path: str
) -> None:
    error = refused(function, *args, **kwargs)
    assert text in error.message
    assert error.message.startswith(f"{function.__qualname__}() ")
    assert error.path == path


def test_a_mismatch_shows_what_was_there_and_what_should_have_been() -> None:
    error = refused(typed, 1, c={"x": 1}, d=[1, "two"])
    assert error.bad_msg == "two"
    assert error.expected_msg_type == list[int] | None
    assert str(error).startswith("MsgTypeError: typed() argument 'd' at $.d[1]: expected `int`, got `str`")


@formats
@pytest.mark.parametrize("function", [plain, typed, spread, loose, positional_only, nothing])
@pytest.mark.parametrize("value", [None, 5, "text", [1], {"a": 1}, [[1]]])
def test_arguments_of_the_wrong_shape_are_refused(
    function: Callable[..., Any], value: Any, codec: CodecName
) -> None:
    signature = coded(function, codec)
    if not isinstance(value, list):
        with pytest.raises(MsgTypeError):
            signature.bind(raw(value, codec), raw({}, codec))
    if not isinstance(value, dict):
        with pytest.raises(MsgTypeError):
            signature.bind(raw([], codec), raw(value, codec))


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_garbage_is_a_type_error_and_nothing_else(args: bytes, kwargs: bytes) -> None:
    for function in (plain, typed, spread, loose, nothing):
        for codec in CODEC_NAMES:
            for pair in ((args, kwargs), (raw([], codec), kwargs), (args, raw({}, codec))):
                try:
                    coded(function, codec).bind(Raw(pair[0]), Raw(pair[1]))
                except MsgTypeError:
                    pass


def test_hostile_arguments_are_type_errors() -> None:
    deep = Raw(b"\x91" * 60_000 + b"\x90")
    for function in (plain, typed, loose):
        with pytest.raises(MsgTypeError):
            coded(function).bind(deep, raw({}))
        with pytest.raises(MsgTypeError):
            coded(function).bind(raw([]), deep)
    with pytest.raises(MsgTypeError):
        coded(plain).bind(Raw(b""), Raw(b""))
    with pytest.raises(MsgTypeError):
        coded(plain).bind(raw([]), raw({1: 2}))


def test_a_type_whose_constructor_refuses() -> None:
    async def endpoint(x: Picky) -> None: ...

    with pytest.raises(MsgTypeError, match="too small"):
        coded(endpoint).bind(raw([]), raw({"x": {"value": -1}}))
    with pytest.raises(MsgTypeError):
        coded(endpoint).bind(raw([{"value": 0}]), raw({}))


@dataclass
class Picky:
    value: int

    def __post_init__(self) -> None:
        if self.value < 0:
            raise ValueError("too small")
        1 / self.value


def test_unsupported_annotations_take_anything() -> None:
    async def endpoint(
        a: Opaque,
        b: Callable[[], None],
        c: Path,
        d: str | uuid.UUID,
        e: list[Opaque],
        f: Unknown,
        g: int,
        h: list | tuple = (),  # type: ignore[type-arg]
    ) -> Opaque: ...

    arguments = {name: ["anything"] for name in "abcdef"}
    assert bind(endpoint, g=1, **arguments) == ([], {"g": 1, **arguments})
    assert refused(endpoint, g="x", **arguments).path == "$.g"
    assert Signature(endpoint).result_type is Any
    assert Signature(endpoint).unchecked(wire_codec()).keys() == {*"abcdeh", "return"}


class Price(enum.Enum):
    LOW = 1.5


class Planet(enum.Enum):
    MARS = (6.4e23, 3389.5)


class Mixed(enum.Enum):
    A = "a"
    B = 2


@dataclass
class Offer:
    price: Price


@dataclass
class Initial:
    id: int
    start: InitVar[int] = 3


#: What the documentation names as unchecked.
UNCHECKED: list[tuple[Any, Any]] = [
    (Price, Price.LOW),
    (Planet, Planet.MARS),
    (Mixed, Mixed.B),
    (list[Price], [Price.LOW]),
    (Offer, Offer(Price.LOW)),
    (Literal[Colour.RED], Colour.RED),
    (Iterable[int], [1]),
    (Iterator[int], [1]),
    (Initial, Initial(1)),
]
if sys.version_info >= (3, 12):
    # A recursive alias is a statement that Python 3.11 cannot read.
    exec("type Nested = dict[str, Nested] | int")
    UNCHECKED.append((globals()["Nested"], {"a": 1}))


@pytest.mark.parametrize(("kind", "value"), UNCHECKED, ids=lambda item: repr(item)[:40])
@formats
def test_what_is_not_checked_arrives_as_its_bare_value(kind: Any, value: Any, codec: CodecName) -> None:
    async def endpoint(x): ...  # type: ignore[no-untyped-def]

    endpoint.__annotations__["x"] = kind
    signature = Signature(endpoint)
    assert signature.unchecked(wire_codec(codec)).keys() == {"x"}
    bare = wire_codec(codec).decode_payload(raw(value, codec))
    for sent, arrived in ((value, bare), ("nonsense", "nonsense")):
        assert signature.by(wire_codec(codec)).bind(raw([sent], codec), raw({}, codec)) == ([arrived], {})


def test_unpacked_keywords_are_not_checked() -> None:
    async def endpoint(**options: Unpack[Options]) -> None: ...

    assert Signature(endpoint).unchecked(wire_codec()).keys() == {"options"}
    assert bind(endpoint, depth="nonsense") == ([], {"depth": "nonsense"})


def test_members_are_made_of_their_bare_values() -> None:
    """As the documentation advises."""
    for member in (Price.LOW, Mixed.A, Mixed.B):
        assert type(member)(wire_codec().decode_payload(raw(member))) is member
    assert Planet(tuple(wire_codec().decode_payload(raw(Planet.MARS)))) is Planet.MARS


def test_unannotated_means_anything() -> None:
    for value in (1, "a", [1], {"k": None}, None):
        assert bind(plain, value, c=value) == ([value], {"c": value})


def test_a_default_of_none_takes_none() -> None:
    async def endpoint(x: int = None, y: str = "") -> None: ...  # noqa: RUF013

    assert bind(endpoint, x=None) == ([], {"x": None})
    assert refused(endpoint, y=None).path == "$.y"


def test_defaults_are_left_to_the_function() -> None:
    marker = Opaque()

    async def endpoint(x: int, y: Any = marker, z: list[int] = []) -> None: ...  # noqa: B006

    assert bind(endpoint, x=1) == ([], {"x": 1})


def test_bad_defaults_and_recursive_types_are_no_obstacle() -> None:
    async def endpoint(tree: Tree, size: int = "not an int") -> None: ...  # type: ignore[assignment]

    assert bind(endpoint, tree={"children": [{"children": []}]}) == ([], {"tree": Tree([Tree([])])})


@dataclass
class Tree:
    children: list[Tree]


# -- parameters that the runtime fills -----------------------------------------------------


async def dialog(ctx: Opaque, x: int, y: str = "") -> str: ...


dialog.__tractor_context__ = ContextMark("ctx")  # type: ignore[attr-defined]


def test_the_context_is_not_the_callers_to_fill() -> None:
    signature = SignatureCache().get(dialog).by(wire_codec())
    assert signature.bind(raw([]), raw({"x": 1})) == ([], {"x": 1})
    with pytest.raises(MsgTypeError, match="unexpected argument 'ctx'"):
        signature.bind(raw([]), raw({"x": 1, "ctx": 2}))


def test_beside_a_context_all_arguments_are_passed_on_by_name() -> None:
    signature = SignatureCache().get(dialog).by(wire_codec())
    assert signature.bind(raw([1]), raw({"y": "a"})) == ([], {"x": 1, "y": "a"})
    assert signature.bind(raw([1, "b"]), raw({})) == ([], {"x": 1, "y": "b"})


# -- results -------------------------------------------------------------------------------


def test_results_are_checked_where_they_are_made() -> None:
    async def endpoint() -> list[int]: ...

    signature = coded(endpoint)
    assert isinstance(signature.check_result([1]), Raw)
    with pytest.raises(MsgTypeError, match=r"result of .*endpoint\(\) at \$\[1\]: expected `int`") as caught:
        signature.check_result([1, "x"])
    assert caught.value.bad_msg == "x"
    with pytest.raises(TypeError, match=r"cannot encode result\[0\]: "):
        signature.check_result([object()])


def test_simple_results_are_not_encoded_twice() -> None:
    async def endpoint() -> str: ...

    signature = coded(endpoint)
    assert signature.check_result("a") == "a"
    with pytest.raises(MsgTypeError):
        signature.check_result(5)
    with pytest.raises(MsgTypeError):
        signature.decode_result(raw(5))


def test_an_int_will_do_for_a_float() -> None:
    async def endpoint() -> float: ...

    signature = coded(endpoint)
    assert signature.decode_result(signature.check_result(2)) == 2.0


@pytest.mark.parametrize("annotation", ["none", "missing"])
def test_no_result_annotation_means_unchecked(annotation: str) -> None:
    async def none() -> None: ...

    async def missing(): ...  # type: ignore[no-untyped-def]

    signature = coded(none if annotation == "none" else missing)
    assert signature.check_result({"a": 1}) == {"a": 1}
    assert signature.decode_result(raw({"a": 1})) == {"a": 1}


def test_items_of_an_async_generator_are_typed() -> None:
    async def numbers() -> AsyncIterator[Point]:
        yield Point(1)

    async def untyped():  # type: ignore[no-untyped-def]
        yield 1

    assert coded(numbers).decode_result(raw(Point(2))) == Point(2)
    assert Signature(untyped).result_type is Any


# -- the cache -----------------------------------------------------------------------------


def test_signatures_are_built_once_and_go_with_their_function() -> None:
    cache = SignatureCache()
    assert cache.get(plain) is cache.get(plain)
    assert SignatureCache().get(plain) is not cache.get(plain)

    async def short_lived(x: Point) -> Point: ...

    cache.get(short_lived).by(wire_codec()).bind(raw([Point(1)]), raw({}))
    reference = weakref.ref(short_lived)
    del short_lived
    gc.collect()
    assert reference() is None
