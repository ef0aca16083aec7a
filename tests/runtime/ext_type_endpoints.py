"""Endpoints that take and give values of classes which only the tree's ``ext_types`` know."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tractor_core as tractor
from tractor_core.msg import ExtType
from tractor_core.msg.numpy_arrays import ARRAYS


class Money:
    """An amount with its currency."""

    def __init__(self, amount: Decimal, currency: str) -> None:
        self.amount = amount
        self.currency = currency

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and (other.amount, other.currency) == (self.amount, self.currency)

    def __hash__(self) -> int:
        return hash((self.amount, self.currency))


def to_plain(money: Money) -> tuple[Decimal, str]:
    return money.amount, money.currency


def from_plain(plain: tuple[Decimal, str]) -> Money:
    return Money(*plain)


MONEY = ExtType(Money, 7, to_plain, from_plain)
EXT_TYPES = [MONEY, ARRAYS]


async def double(price: Money) -> Money:
    assert type(price) is Money
    return Money(price.amount * 2, price.currency)


async def pass_on(value: Any) -> Any:
    return value


async def returns_wrong() -> Money:
    return 5  # type: ignore[return-value]


async def scaled(rows: NDArray[np.float64], factor: float) -> NDArray[np.float64]:
    assert not rows.flags.writeable
    return rows * factor


async def prices(count: int) -> AsyncIterator[Money]:
    for number in range(count):
        yield Money(Decimal(number), "EUR")


@tractor.context(pld_spec=Money | None)
async def changes_money(ctx: tractor.Context) -> Money:
    await ctx.started(Money(Decimal(1), "EUR"))
    async with ctx.open_stream() as stream:
        async for price in stream:
            await stream.send(Money(price.amount, "CHF"))
    return Money(Decimal(0), "CHF")


@tractor.context(pld_spec=np.ndarray)
async def integrates(ctx: tractor.Context) -> NDArray[np.float64]:
    total = np.zeros(3)
    await ctx.started(total)
    async with ctx.open_stream() as stream:
        async for rows in stream:
            total = total + rows
            await stream.send(total)
    return total


@tractor.context
async def echoes(ctx: tractor.Context, first: Any) -> Any:
    await ctx.started(first)
    async with ctx.open_stream() as stream:
        async for value in stream:
            await stream.send(value)
    return first


async def by_a_child_of_this_one(price: Money) -> tuple[int, Money]:
    """Has a grandchild double it."""
    async with tractor.open_nursery() as nursery:
        portal = await nursery.run_in_actor(double, name="grandchild", price=price)
        return os.getpid(), await portal.wait_for_result()
