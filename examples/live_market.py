"""The actors behind ``live_page.py``: a hub that pages talk to, and one actor for each grain that is traded.

Only what is marked for clients can be reached from a page. The hub passes on what the actors below it stream.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import trio

import tractor_core as tractor

GRAINS = {"barley": 182.0, "oats": 204.0, "rye": 161.0}

#: Seconds between two trades of one grain.
TICK = 0.05


class NoSuchGrain(Exception):
    pass


class Walk:
    """A price that moves at random around a slowly changing mean; brought up to date when it is read."""

    def __init__(self, price: float) -> None:
        self.price = self.mean = price
        self._time = trio.current_time()

    def read(self) -> float:
        while self._time < trio.current_time():
            self._time += TICK
            self.mean += random.gauss(0, 0.05)
            self.price += 0.02 * (self.mean - self.price) + random.gauss(0, 0.3)
        return round(self.price, 2)

    def shock(self, percent: float) -> float:
        self.price = self.read() * (1 + percent / 100)
        return round(self.price, 2)


# -- in the actor of one grain ------------------------------------------------------------------

#: The walk of the grain that this actor trades: each actor has this module to itself.
walks: dict[str, Walk] = {}


async def open_market(grain: str, first: float) -> None:
    walks[grain] = Walk(first)


async def quotes(grain: str) -> AsyncIterator[float]:
    while True:
        yield walks[grain].read()
        await trio.sleep(2 * TICK)


async def price(grain: str) -> float:
    return walks[grain].read()


async def shock(grain: str, percent: float) -> float:
    return walks[grain].shock(percent)


async def spoil(grain: str) -> None:
    error = NoSuchGrain(f"weevils in the {grain}")
    error.add_note("the silo was last inspected in spring")
    raise error


# -- in the hub, for pages ----------------------------------------------------------------------


@tractor.expose(clients=True)
@tractor.context
async def watch(ctx: tractor.Context) -> str:
    """Streams ``[grain, price]`` of all actors; takes ``[grain, percent]`` and moves that price."""
    await ctx.started(list(GRAINS))
    async with ctx.open_stream(overflow="block") as page, trio.open_nursery() as nursery:
        for grain in GRAINS:
            nursery.start_soon(forward, grain, page)
        async for grain, percent in page:
            async with tractor.find_actor(grain) as portal:
                await portal.run(shock, grain, percent)
        nursery.cancel_scope.cancel()
    return "the market goes on without you"


async def forward(grain: str, page: tractor.MsgStream[object, object]) -> None:
    async with tractor.find_actor(grain) as portal, portal.open_stream_from(quotes, grain) as prices:
        async for value in prices:
            await page.send([grain, value])


@tractor.expose(clients=True)
async def quote(grain: str) -> float:
    """The price now, asked of the actor that has it."""
    async with tractor.find_actor(grain) as portal:
        return await portal.run(price, grain)


@tractor.expose(clients=True)
async def inspect(grain: str) -> None:
    """Fails: the error crosses two actors on its way to the page."""
    async with tractor.find_actor(grain) as portal:
        await portal.run(spoil, grain)
