"""What type checkers make of a program: every type here is inferred, none is declared where it is used."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, assert_type

import tractor_core as tractor
from tractor_core.errors import ContextCancelled, RemoteActorError


@dataclass
class Row:
    id: int
    name: str


async def look_up(key: int, *, strict: bool = False) -> Row | None: ...


async def untyped(value):  # type: ignore[no-untyped-def]
    return value


async def rows(limit: int = 10) -> AsyncIterator[Row]:
    yield Row(limit, "")


@tractor.context
async def plain(ctx: tractor.Context, start: int) -> str:
    await ctx.started(start)
    return ""


@tractor.context(pld_spec=Row | int | str)
async def typed(ctx: tractor.Context[Row, int, str], start: int) -> bytes:
    await ctx.started("first")
    async with ctx.open_stream() as stream:
        assert_type(stream, tractor.MsgStream[Row, int])
        async for number in stream:
            assert_type(number, int)
            await stream.send(Row(number, ""))
    return b""


async def calls(portal: tractor.Portal) -> None:
    assert_type(await portal.run(look_up, 5), Row | None)
    assert_type(await portal.run(look_up, key=5, strict=True), Row | None)
    assert_type(await portal.run(untyped, 5), Any)
    assert_type(await portal.run_from_ns("module", "name", x=1), Any)


async def streams(portal: tractor.Portal) -> None:
    async with portal.open_stream_from(rows, limit=5) as stream:
        assert_type(await stream.receive(), Row)
        assert_type(stream.receive_nowait(), Row)
        async for row in stream:
            assert_type(row, Row)
        async with stream.subscribe() as subscriber:
            assert_type(await subscriber.receive(), Row)


async def contexts(portal: tractor.Portal) -> None:
    async with portal.open_context(plain, start=1) as (context, first):
        assert_type(first, Any)
        assert_type(await context.wait_for_result(), str)
        async with context.open_stream() as loose:
            assert_type(await loose.receive(), Any)

    async with portal.open_context(typed, 1) as (near, greeting):
        assert_type(greeting, str)
        assert_type(near, tractor.Context[int, Row, str, bytes])
        async with near.open_stream(overflow="block") as stream:
            await stream.send(5)
            assert_type(await stream.receive(), Row)
            async for row in stream:
                assert_type(row, Row)
        assert_type(await near.wait_for_result(), bytes)

    async with portal.open_context(typed, allow_overruns=True, start=1) as (near, greeting):
        assert_type(greeting, str)
        assert_type(await near.wait_for_result(), bytes)


async def trees() -> None:
    async with tractor.open_nursery(name="root", loglevel="info") as nursery:
        assert_type(nursery, tractor.ActorNursery)
        portal = await nursery.start_actor("worker", enable_modules=[__name__])
        assert_type(portal, tractor.Portal)
        once = await nursery.run_in_actor(look_up, name="once", key=5)
        assert_type(await once.wait_for_result(), Row | None)
    async with tractor.open_root_actor(registry_addrs=["uds:///tmp/r.sock"]) as actor:
        assert_type(actor, tractor.Actor)
    async with tractor.open_portal("tcp://127.0.0.1:1616") as portal:
        assert_type(portal, tractor.Portal)
    async with tractor.find_actor("worker") as found:
        if isinstance(found, tractor.Portal):
            await found.run(look_up, 1)
    async with tractor.open_actor_cluster([__name__], count=2) as portals:
        assert_type(portals, dict[str, tractor.Portal])


async def errors(portal: tractor.Portal) -> None:
    try:
        await portal.run(look_up, 5)
    except ContextCancelled as error:
        assert_type(error.canceller, tuple[str, str] | None)
    except RemoteActorError as error:
        assert_type(error.src_type, type[BaseException])
        assert_type(error.relay_path, tuple[tuple[str, str], ...])
        assert_type(error.unwrap(), BaseException)
    try:
        await portal.run(look_up, 5)
    except* RemoteActorError as group:
        for each in group.exceptions:
            assert_type(each, RemoteActorError | ExceptionGroup[RemoteActorError])
