"""Typed messages: what is annotated arrives so, and what does not fit is refused before anybody sees it.

A shop in another actor. Its functions take and return structs, decimals and dates; one conversation
is under a contract; and a class that no codec knows, ``Fraction``, is made known to the whole tree.
"""

from __future__ import annotations

import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any

import msgspec
import trio

import tractor_core as tractor
from tractor_core.msg import ExtType


class Item(msgspec.Struct, frozen=True):
    name: str
    price: Decimal
    count: Annotated[int, msgspec.Meta(ge=1)] = 1


class Order(msgspec.Struct, tag=True):
    items: list[Item]


class Receipt(msgspec.Struct, tag=True):
    total: Decimal
    due: datetime.date


# -- a class that no codec knows ---------------------------------------------------------------


def to_plain(fraction: Fraction) -> tuple[int, int]:
    return fraction.numerator, fraction.denominator


def from_plain(plain: tuple[int, int]) -> Fraction:
    return Fraction(*plain)


FRACTION = ExtType(Fraction, 1, to_plain, from_plain)


# -- what the shop does ------------------------------------------------------------------------


async def total(*items: Item, discount: Fraction = Fraction(0)) -> Decimal:
    whole = sum((item.price * item.count for item in items), Decimal(0))
    return whole * (discount.denominator - discount.numerator) / discount.denominator


@tractor.context(pld_spec=Order | Receipt | str)
async def sells(ctx: tractor.Context[Receipt, Order, str], today: datetime.date) -> str:
    """Takes orders and sends receipts. Both ways nothing but these can be said."""
    try:
        await ctx.started(404)  # type: ignore[arg-type]  # type checkers see it, too
    except tractor.MsgTypeError as error:
        # Refused here, before it was sent: it can be put right.
        await ctx.started(f"open; {error.message}")
    count = 0
    async with ctx.open_stream() as stream:
        async for order in stream:
            count += 1
            await stream.send(Receipt(await total(*order.items), today + datetime.timedelta(days=30)))
    return f"{count} orders"


async def main() -> None:
    async with tractor.open_nursery(ext_types=[FRACTION]) as nursery:
        shop = await nursery.start_actor("shop", enable_modules=[__name__])

        tea, cup = Item("tea", Decimal("4.50"), 2), Item("cup", Decimal("3.20"))
        print("total:", await shop.run(total, tea, cup, discount=Fraction(1, 4)))
        air: Any = {"name": "air", "price": "0", "count": 0}
        try:
            await shop.run(total, tea, air)
        except tractor.MsgTypeError as error:
            print("refused:", error.message)

        async with shop.open_context(sells, today=datetime.date(2024, 2, 29)) as (context, greeting):
            print("shop:", greeting)
            async with context.open_stream() as stream:
                await stream.send(Order([tea, cup]))
                print(await stream.receive())
            print("sold:", await context.wait_for_result())
        await nursery.cancel()


if __name__ == "__main__":
    trio.run(main)
