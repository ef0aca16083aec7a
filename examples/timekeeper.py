"""A small service: what a daemon exposes, and what its clients import.

``daemon_and_client.py`` and ``light_client.py`` import this module and pass its functions to
``portal.run()``, so that arguments and results are typed on both sides. (Functions of a *script* are
for the children of that script only: another program has another ``__main__``.)

Started by itself it serves until it is cancelled, and prints its address for those who dial it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date, timedelta

import trio

import tractor_core as tractor


@dataclass
class Month:
    """How long a month is and on which weekday it starts (0 is Monday)."""

    days: int
    first_weekday: int


async def month(year: int, number: int) -> Month:
    """Look a month up."""
    first = date(year, number, 1)
    following = date(year + number // 12, number % 12 + 1, 1)
    return Month((following - first).days, first.weekday())


async def days(start: date, count: int) -> AsyncIterator[date]:
    """Days, one after the other."""
    for number in range(count):
        yield start + timedelta(days=number)


async def serve() -> None:
    async with tractor.open_root_actor(name="timekeeper", enable_modules=["timekeeper"]) as actor:
        print(actor.accept_addrs[0].url, flush=True)
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(serve)
