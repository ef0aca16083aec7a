"""A pipeline over several processes: producers, whose values fan in to one consumer.

Three actors each look for primes in a part of the numbers, and stream what they find. Here the
streams become one, through a trio memory channel, and one task consumes it. Nobody runs ahead: a
consumer that is slow makes the memory channel fill, that makes the streams fill, and a producer whose
stream is full waits.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import trio

import tractor_core as tractor

UPTO = 12_000
PARTS = 3


async def primes(start: int, stop: int) -> AsyncIterator[int]:
    """A producer: primes, the slow way."""
    for number in range(max(start, 2), stop):
        if all(number % divisor for divisor in range(2, int(number**0.5) + 1)):
            yield number


async def produce(portal: tractor.Portal, start: int, stop: int, sink: trio.MemorySendChannel[int]) -> None:
    """Forward one producer's stream. The sink's clone closes with it, the channel with the last clone."""
    async with sink, portal.open_stream_from(primes, start=start, stop=stop) as stream:
        async for number in stream:
            await sink.send(number)


async def consume(source: trio.MemoryReceiveChannel[int]) -> None:
    count, total, largest = 0, 0, 0
    async for number in source:
        count, total, largest = count + 1, total + number, max(largest, number)
    print(f"{count} primes below {UPTO}, the largest {largest}, together {total}")


async def main() -> None:
    async with tractor.open_actor_cluster([__name__], count=PARTS) as portals:
        step = UPTO // PARTS
        sink, source = trio.open_memory_channel[int](16)
        async with trio.open_nursery() as tasks, sink:
            tasks.start_soon(consume, source)
            for index, (name, portal) in enumerate(portals.items()):
                print(f"{name} takes {index * step} to {(index + 1) * step}")
                tasks.start_soon(produce, portal, index * step, (index + 1) * step, sink.clone())


if __name__ == "__main__":
    trio.run(main)
