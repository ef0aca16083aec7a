"""What becomes of a sender whose receiver does not keep up: the receiver decides.

Each side grants the other a window, here of 8 messages. When that is full and nothing is taken,

- ``overflow="block"``: ``send()`` waits, as long as it takes;
- ``overflow="buffer"``: the window grows, and nothing is lost or waited for;
- ``overflow="raise"``, the default: after a short grace ``send()`` raises, and the stream fails on
  both sides. For receivers that would rather know.
"""

from __future__ import annotations

from typing import Literal

import trio

import tractor_core as tractor

COUNT = 100
WINDOW = 8

sent = 0


@tractor.context
async def firehose(ctx: tractor.Context, count: int) -> None:
    """Send as fast as the other side lets us."""
    global sent
    sent = 0
    await ctx.started()
    async with ctx.open_stream() as stream:
        await stream.receive()  # from here on the other side's window is known
        for number in range(count):
            await stream.send(number)
            sent += 1


async def how_many() -> int:
    """How many values the firehose got rid of."""
    return sent


async def try_policy(portal: tractor.Portal, overflow: Literal["block", "buffer", "raise"]) -> None:
    async with portal.open_context(firehose, count=COUNT) as (ctx, _):
        async with ctx.open_stream(msg_buffer_size=WINDOW, overflow=overflow) as stream:
            await stream.send("go")
            await trio.sleep(0.5)  # take nothing for a while
            print(
                f"{overflow}: {await portal.run(how_many)} of {COUNT} were sent while nobody looked,", end=" "
            )
            received = [number async for number in stream]
            print(f"{len(received)} arrived")


async def main() -> None:
    async with tractor.open_nursery() as nursery:
        portal = await nursery.start_actor("firehose", enable_modules=[__name__])
        await try_policy(portal, "block")
        await try_policy(portal, "buffer")
        try:
            await try_policy(portal, "raise")
        except tractor.StreamOverrun:
            print("raise: the sender was stopped, and so are we")
        await portal.cancel_actor()


if __name__ == "__main__":
    trio.run(main)
