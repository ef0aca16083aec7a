"""Dialogs under a contract with fields inside of fields, and endpoints with every kind of annotation."""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, TypeVar

import attrs
import msgspec

import tractor_core as tractor

T = TypeVar("T")

notes: list[str] = []


class Row(msgspec.Struct):
    id: int
    price: Annotated[float, msgspec.Meta(ge=0)]


class Table(msgspec.Struct, tag=True):
    rows: list[Row]


class Done(msgspec.Struct, tag=True):
    count: int


class Page(msgspec.Struct, Generic[T]):
    items: list[T]


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Point:
    x: int
    y: int = 0


@attrs.define
class Named:
    name: str


def table(bad: Any = 3) -> Table:
    return Table([Row(1, 1.5), Row(2, 2.0), Row(bad, 3.0)])


@tractor.context(pld_spec=Table | Done | None)
async def keeps_books(ctx: tractor.Context, bad: str = "") -> Any:
    try:
        await ctx.started(table("three"))
    except tractor.MsgTypeError as error:
        notes.append(f"{error.path} {error.bad_msg} {error.expected_msg_type == (Table | Done | None)}")
    await ctx.started(table())
    try:
        async with ctx.open_stream() as stream:
            async for _ in stream:
                await stream.send(table("three") if bad == "send" else Done(1))
    except tractor.MsgTypeError as error:
        notes.append(f"refused {error.path} {error.bad_msg}")
        raise
    return table("three") if bad == "return" else Done(3)


@tractor.context(pld_spec=Point)
async def returns_nothing(ctx: tractor.Context) -> None:
    await ctx.started(Point(1))


async def everything(
    kind: Literal["a", "b"],
    shape: Table | Done,
    page: Page[int],
    *points: Point,
    colour: Colour = Colour.RED,
    share: Annotated[float, msgspec.Meta(gt=0, le=1)] = 1.0,
    owner: Named | None = None,
    **limits: int,
) -> dict[str, Any]:
    notes.append("ran")
    assert all(type(point) is Point for point in points) and type(page.items) is list
    return {
        "types": [type(value).__name__ for value in (kind, shape, page, colour, share, owner)],
        "points": [point.x for point in points],
        "limits": limits,
    }


async def corner(point: Point, name: str = "") -> Named:
    return Named(f"{name}{point.x}")


async def corners(count: int) -> AsyncIterator[Point]:
    for number in range(count):
        yield Point(number)


async def wrong_corners() -> AsyncIterator[Point]:
    yield {"x": "one"}  # type: ignore[misc]


class Opaque:
    """Nobody was told how this travels."""


async def takes_opaque(thing: Opaque, count: int = 0) -> Opaque:
    return thing
