"""Endpoints whose annotation would lose a field; workers import them from here."""

from __future__ import annotations

import attrs

entered: list[str] = []


@attrs.define
class Account:
    owner: str
    _balance: int = 0


async def close_account(account: Account) -> int:
    entered.append(account.owner)
    return account._balance
