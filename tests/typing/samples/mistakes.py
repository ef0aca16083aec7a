"""Mistakes that type checkers must find: every line marked so, and no other."""

from __future__ import annotations

from collections.abc import AsyncIterator

import tractor_core as tractor


async def add(x: int, y: int = 0) -> int:
    return x + y


def blocking(x: int) -> int:
    return x


async def numbers(limit: int) -> AsyncIterator[int]:
    yield limit


@tractor.context
async def typed(ctx: tractor.Context[str, int, bytes], start: int) -> str:
    await ctx.started(start)  # wrong: bytes were promised
    async with ctx.open_stream() as stream:
        await stream.send(5)  # wrong: it sends str
        text: str = await stream.receive()  # wrong: it receives int
        return text


@tractor.context  # wrong: not an async function
def not_async(ctx: tractor.Context) -> None: ...


async def calls(portal: tractor.Portal) -> None:
    await portal.run(add, "5")  # wrong: not an int
    await portal.run(add, 5, z=1)  # wrong: no such parameter
    await portal.run(add)  # wrong: x is missing
    await portal.run(blocking, 5)  # wrong: not an async function
    text: str = await portal.run(add, 5)  # wrong: the result is an int
    print(text)


async def streams(portal: tractor.Portal) -> None:
    async with portal.open_stream_from(numbers, "5") as stream:  # wrong: not an int
        await stream.receive()
    async with portal.open_stream_from(numbers, 5) as stream:
        text: str = await stream.receive()  # wrong: items are int
        await stream.send(text)  # wrong: it only receives


async def contexts(portal: tractor.Portal) -> None:
    async with portal.open_context(typed, start="5") as (context, first):  # wrong: not an int
        print(context, first)
    async with portal.open_context(typed) as (context, first):  # wrong: start is missing
        print(context, first)
    async with portal.open_context(typed, start=5) as (near, greeting):
        number: int = greeting  # wrong: started() hands over bytes
        async with near.open_stream() as stream:
            await stream.send("text")  # wrong: the other side receives int
            number = await stream.receive()  # wrong: the other side sends str
        number = await near.wait_for_result()  # wrong: it returns str
        print(number)


async def trees() -> None:
    async with tractor.open_root_actor(registry_adrs=["tcp://127.0.0.1:1616"]):  # wrong: misspelt
        pass
    async with tractor.open_root_actor(enable_modules=[__name__], name=5):  # wrong: no str
        pass
    async with tractor.open_nursery(registry_adrs=["tcp://127.0.0.1:1616"]) as nursery:  # wrong: misspelt
        print(nursery)
    async with tractor.open_nursery() as nursery:
        once = await nursery.run_in_actor(add, x=1)
        text: str = await once.wait_for_result()  # wrong: the result is an int
        print(text)
