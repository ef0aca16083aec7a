"""One program that does a bit of everything and names no transport: the environment chooses it.

Standard output is the same whatever that is. Standard error says which transports were spoken.
``python everything.py ADDRESS`` is the part that calls from another program, without a runtime.
"""

from __future__ import annotations

import sys

import trio
import work

import tractor_core as tractor

MIB = 2**20


async def calls(portal: tractor.Portal) -> None:
    print("sum", await portal.run(work.add, 20, 22))
    print("digest", (await portal.run(work.digest, b"x" * 5 * MIB))[:12])
    print("large", len(await portal.run(work.zeros, 9 * MIB)))
    results: dict[int, int] = {}

    async def one(number: int) -> None:
        results[number] = await portal.run(work.add, number, number)

    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(one, number)
    print("at once", sum(results.values()))


async def streams(portal: tractor.Portal) -> None:
    async with portal.open_stream_from(work.squares, upto=1000) as stream:
        print("squares", sum([value async for value in stream]))
    async with portal.open_context(work.running_total, start=100) as (ctx, first):
        async with ctx.open_stream(overflow="block") as stream:
            totals = []
            for number in range(300):
                await stream.send(number)
                totals.append(await stream.receive())
    print("totals from", first, "to", totals[-1], "and", await ctx.wait_for_result())


async def errors(portal: tractor.Portal) -> None:
    try:
        await portal.run(work.refuse, "not today")
    except tractor.RemoteActorError as error:
        print("refused:", error.boxed_type.__name__, error.message, error.unwrap())
    try:
        await portal.run(work.add, 1, "two")  # type: ignore[arg-type]
    except tractor.MsgTypeError as error:
        print("badly called:", error.path)
    try:
        await portal.run(work.fail_below, ["upper", "lower"], "deep down")
    except tractor.RemoteActorError as error:
        print("failed below:", " -> ".join(uid[0] for uid in error.relay_path), error.src_type.__name__)
    print("well after that", await portal.run(work.add, 1, 1))


async def cancellation(portal: tractor.Portal) -> None:
    with trio.move_on_after(0.05) as scope:
        await portal.run(work.wait)
    print("gave up", scope.cancelled_caught)
    async with portal.open_context(work.holds_until_cancelled) as (ctx, first):
        await ctx.cancel()
    print("cancelled what was", first)
    async with tractor.open_nursery() as nursery:
        for number in range(3):
            await nursery.start_actor(f"short-lived-{number}")
        await nursery.cancel()
    print("cancelled a nursery", nursery.cancel_called)


async def names(portal: tractor.Portal) -> None:
    print("chain", *await portal.run(work.grow, ["first", "second", "third"], 0))
    async with tractor.open_nursery() as nursery:
        await nursery.start_actor("colleague", enable_modules=["work"])
        print("asked a colleague", await portal.run(work.ask_by_name, "colleague", 3, 4))
        await nursery.cancel()
    async with tractor.find_actor("colleague") as gone:
        print("found when gone", gone)


async def another_program(address: str) -> None:
    """A client with no actors and no runtime."""
    async with tractor.open_portal(address) as portal:
        print("dialled", portal.chan.aid.name, "who adds up to", await portal.run(work.add, 5, 6))
        print("spoken to over", portal.chan.raddr.scheme, file=sys.stderr)


async def main() -> None:
    async with tractor.open_nursery() as nursery:
        portal = await nursery.start_actor("worker", enable_modules=["work"])
        print("spoken over", portal.chan.raddr.scheme, file=sys.stderr)
        for part in (calls, streams, errors, cancellation, names):
            await part(portal)
        async with tractor.query_actor("worker") as (address, _):
            assert address is not None
            sys.stdout.flush()
            await trio.run_process([sys.executable, __file__, address.url])
        print("will end", await portal.cancel_actor())
    print("done", flush=True)


if __name__ == "__main__":
    trio.run(another_program if sys.argv[1:] else main, *sys.argv[1:])
