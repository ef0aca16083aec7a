"""Classes that msgspec does not know, and how they travel; other processes import them from here."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from tractor_core.msg import ExtType


class Money:
    """An amount with its currency."""

    def __init__(self, amount: Decimal, currency: str) -> None:
        self.amount = amount
        self.currency = currency

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and (other.amount, other.currency) == (self.amount, self.currency)

    def __hash__(self) -> int:
        return hash((self.amount, self.currency))

    def __repr__(self) -> str:
        return f"Money({self.amount}, {self.currency!r})"


def to_plain_money(money: Money) -> tuple[Decimal, str]:
    return money.amount, money.currency


def from_plain_money(plain: tuple[Decimal, str]) -> Money:
    return Money(*plain)


def to_plain_fraction(fraction: Fraction) -> tuple[int, int]:
    return fraction.numerator, fraction.denominator


def from_plain_fraction(plain: tuple[int, int]) -> Fraction:
    return Fraction(*plain)


MONEY = ExtType(Money, 7, to_plain_money, from_plain_money)
FRACTION = ExtType(Fraction, 8, to_plain_fraction, from_plain_fraction)
