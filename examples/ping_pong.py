"""Two tasks in two processes throw a ball to and fro.

A context links a task here with a task there, and its stream carries values both ways. The scope is
one: whichever side ends, in whatever manner, ends the other.
"""

from __future__ import annotations

import trio

import tractor_core as tractor


@tractor.context
async def ponger(ctx: tractor.Context, name: str) -> int:
    """Answer every ball until the other side has had enough; returns how many there were."""
    await ctx.started(f"{name} is ready")
    count = 0
    async with ctx.open_stream() as stream:
        async for ball in stream:
            await stream.send(f"{ball}, pong")
            count += 1
    return count


async def main() -> None:
    async with tractor.open_nursery() as nursery:
        portal = await nursery.start_actor("ponger", enable_modules=[__name__])

        async with portal.open_context(ponger, name="the ponger") as (ctx, first):
            print(first)
            async with ctx.open_stream() as stream:
                for number in range(3):
                    await stream.send(f"ping {number}")
                    print(await stream.receive())
            # Leaving the stream's block ended our half of it, and with that the loop over there.
            print("returned", await ctx.wait_for_result(), "balls")

        await portal.cancel_actor()


if __name__ == "__main__":
    trio.run(main)
