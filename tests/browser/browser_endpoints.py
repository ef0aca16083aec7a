"""What the pages of these tests call; ``python browser_endpoints.py ORIGIN PORT [TIMEOUT]`` serves it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator

import trio

import tractor_core as tractor

TOKEN = "the-token-of-the-tested-page"


class OutOfStock(Exception):
    pass


@tractor.expose(clients=True)
async def add(x: int, y: int) -> int:
    return x + y


@tractor.expose(clients=True)
async def echo(value: object) -> object:
    return value


@tractor.expose(clients=True)
async def size_of(data: bytes) -> int:
    return len(data)


@tractor.expose(clients=True)
async def fail(item: str) -> None:
    error = OutOfStock(item, 3, -(2**40), 2**60, 1.5, None, True, b"\x00\x01", ["a", {"b": 70_000}])
    error.add_note("try again tomorrow")
    raise error from KeyError(item)


@tractor.expose(clients=True)
async def fail_twice() -> None:
    raise ExceptionGroup("two", [ValueError("one"), KeyError("other")])


#: What ends in these tests ends here too, so that pages can ask whether it did.
ended: list[str] = []


@tractor.expose(clients=True)
async def hang(name: str) -> None:
    try:
        await trio.sleep_forever()
    finally:
        ended.append(name)


@tractor.expose(clients=True)
@tractor.context
async def hang_open(ctx: tractor.Context, name: str) -> None:
    await ctx.started(name)
    try:
        await trio.sleep_forever()
    finally:
        # Slower than the acknowledgement: whoever waits for the end must wait for this.
        with trio.CancelScope(shield=True):
            await trio.sleep(0.05)
        ended.append(name)


@tractor.expose(clients=True)
async def has_ended(name: str) -> bool:
    return name in ended


@tractor.expose(clients=True)
async def count(n: int, name: str = "count") -> AsyncIterator[int]:
    try:
        for value in range(n):
            yield value
    finally:
        ended.append(name)


@tractor.expose(clients=True)
@tractor.context
async def double(ctx: tractor.Context) -> str:
    """Answers each value with it twice; its window is small, so that credit counts."""
    await ctx.started("ready")
    async with ctx.open_stream(overflow="block", msg_buffer_size=8) as stream:
        async for value in stream:
            await stream.send([value, value])
    return "doubled"


@tractor.expose(clients=True)
@tractor.context
async def flood(ctx: tractor.Context, n: int, size: int = 0) -> int:
    """Sends as the page allows; the result is how many went."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        for value in range(n):
            await stream.send([value, "é" * size] if size else value)
    return n


@tractor.expose(clients=True)
@tractor.context
async def deaf(ctx: tractor.Context, overflow: str) -> None:
    """Never takes what is sent."""
    await ctx.started()
    async with ctx.open_stream(overflow=overflow, msg_buffer_size=4):  # type: ignore[arg-type]
        await trio.sleep_forever()


@tractor.expose(clients=True)
@tractor.context
async def break_after(ctx: tractor.Context, n: int) -> None:
    await ctx.started()
    async with ctx.open_stream() as stream:
        for value in range(n):
            await stream.send(value)
        raise OutOfStock("broke")


async def secret() -> str:
    return "for actors of the tree only"


async def serve(origin: str, port: str, heartbeat_timeout: str = "") -> None:
    async with tractor.open_root_actor(
        registry_addrs=[f"ws://127.0.0.1:{port}?origins={origin}"],
        enable_modules=["browser_endpoints"],
        auth_tokens={TOKEN: "page"},
        client_tracebacks=True,
        heartbeat_interval=0.2,
        heartbeat_timeout=float(heartbeat_timeout) if heartbeat_timeout else None,
    ) as root:
        print(root.accept_addrs[0].url.partition("?")[0], flush=True)
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(serve, *sys.argv[1:])
