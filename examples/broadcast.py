"""One stream from another process, for several tasks here.

``receive()`` is for one task at a time. With ``subscribe()`` every subscriber gets every value, at its
own pace: the fastest pulls from the stream, the others read what it pulled. One that falls too far
behind is told so, once, by ``Lagged``; then it goes on with the oldest value that is still kept.
"""

from __future__ import annotations

import trio

import tractor_core as tractor
from tractor_core.trionics import Lagged

COUNT = 200


@tractor.context
async def count_up(ctx: tractor.Context, upto: int) -> None:
    await ctx.started()
    async with ctx.open_stream() as stream:
        await stream.receive()  # the other side says when its subscribers are there
        for number in range(1, upto + 1):
            await stream.send(number)


async def subscriber(name: str, stream: tractor.MsgStream[str, int], nap: float, ready: trio.Event) -> None:
    """Receive until the end, taking a nap after the first value."""
    received = 0
    async with stream.subscribe() as receiver:
        ready.set()
        while True:
            try:
                await receiver.receive()
            except Lagged:
                print(f"{name} is told that it missed some")
                continue
            except trio.EndOfChannel:
                break
            received += 1
            if received == 1:
                await trio.sleep(nap)
    print(f"{name} received {received} of {COUNT}")


async def main() -> None:
    async with tractor.open_nursery() as nursery:
        portal = await nursery.start_actor("counter", enable_modules=[__name__])
        async with portal.open_context(count_up, upto=COUNT) as (ctx, _):
            async with ctx.open_stream(overflow="block") as stream, trio.open_nursery() as tasks:
                for name, nap in (("early", 0.0), ("punctual", 0.0), ("sleepy", 0.5)):
                    ready = trio.Event()
                    tasks.start_soon(subscriber, name, stream, nap, ready)
                    await ready.wait()
                await stream.send("go")
        await portal.cancel_actor()


if __name__ == "__main__":
    trio.run(main)
