"""What the semantics scenarios run in other actors: real processes import this module by its name.

Endpoints note what happens to them under a key that the scenario chose; :func:`noted` tells it.
"""

from __future__ import annotations

import enum
import uuid
import warnings
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import trio

import tractor_core as tractor

_notes: defaultdict[str, list[str]] = defaultdict(list)


async def noted(key: str) -> list[str]:
    return list(_notes[key])


def note(key: str, what: str) -> None:
    if key:
        _notes[key].append(what)


class OwnError(Exception):
    """Defined here, so that both sides know it."""


class NotToldError(Exception):
    def __init__(self, first: int, second: object) -> None:
        super().__init__(f"{first}")


# -- calls -----------------------------------------------------------------------------------


async def add(x: int, y: int = 0) -> int:
    return x + y


async def echo(value: Any) -> Any:
    return value


async def size_of(value: bytes) -> int:
    return len(value)


async def named(
    name: str, fn: int, self: int = 0, target: str = "", args: int = 0, kwargs: int = 0
) -> list[Any]:
    return [name, fn, self, target, args, kwargs]


async def note_run(key: str, value: int) -> None:
    note(key, f"ran {value}")


async def untyped(value, other=None):  # type: ignore[no-untyped-def]
    return [value, other]


async def variadic(*values: int, **named: str) -> list[Any]:
    return [list(values), named]


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Row:
    id: uuid.UUID
    at: datetime
    colour: Colour
    tags: set[str]
    size: tuple[int, int]
    price: Decimal


async def describe_row(row: Row, rows: list[Row]) -> list[str]:
    first = rows[0]
    kinds = [row, row.id, row.at, row.colour, row.tags, row.size, row.price, first, first.tags, first.size]
    return [type(kind).__name__ for kind in kinds]


async def same_row(row: Row) -> Row:
    return row


async def dict_as_row() -> Row:
    return {"id": 3}  # type: ignore[return-value]


async def wrong_result() -> int:
    return "three"  # type: ignore[return-value]


async def unencodable_result() -> Any:
    return {"rows": [1, {"callback": object()}]}


async def fail(message: str) -> None:
    error = OwnError(message, 7)
    error.add_note("a note")
    raise error


async def fail_from_cause() -> None:
    try:
        raise KeyError("inner")
    except KeyError as inner:
        raise ValueError("outer") from inner


async def fail_with_group() -> None:
    raise ExceptionGroup("several", [ValueError("one"), ExceptionGroup("inner", [OwnError("two")])])


async def fail_strangely() -> None:
    raise NotToldError(1, object())


async def fail_with(kind: str) -> None:
    raise {"exit": SystemExit, "interrupt": KeyboardInterrupt, "generator": GeneratorExit}[kind]("on purpose")


@tractor.context
async def fails_when_cancelled(ctx: tractor.Context, key: str) -> None:
    """Cancelled while waiting; a child task answers that with another error."""
    await ctx.started()

    async def answer() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise OwnError("while cancelled")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        note(key, "waiting")
        await trio.sleep_forever()


async def leak_cancelled() -> None:
    """A ``Cancelled`` carried out of the scope it belongs to."""
    kept: list[BaseException] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as cancelled:
            kept.append(cancelled)
    raise kept[0]


async def wait_for_ever(key: str = "") -> None:
    note(key, "waiting")
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()
        note(key, "ended")


async def hold(key: str, value: bytes) -> None:
    """Takes something large and does not end by itself."""
    note(key, "holding")
    try:
        await trio.sleep_forever()
    finally:
        note(key, "ended")


async def sleep_and_return(seconds: float, value: int) -> int:
    await trio.sleep(seconds)
    return value


async def _hidden() -> None:
    raise AssertionError("must not be callable")


def not_async() -> None:
    raise AssertionError("must not be callable")


class Holder:
    async def method(self) -> None:
        raise AssertionError("must not be callable")


async def whose_context() -> bool:
    return tractor.current_ipc_ctx() is not None


async def uid() -> list[str]:
    return list(tractor.current_actor().uid)


# -- levels ----------------------------------------------------------------------------------


async def call_below(name: str, function: str) -> Any:
    """Have the actor of that name run one of the functions above."""
    async with tractor.find_actor(name, raise_on_none=True) as portal:
        return await portal.run(globals()[function])


async def fail_below(name: str, message: str) -> None:
    async with tractor.find_actor(name, raise_on_none=True) as portal:
        await portal.run(fail, message)


@tractor.context
async def open_below(ctx: tractor.Context, name: str, how: str, key: str = "") -> None:
    async with tractor.find_actor(name, raise_on_none=True) as portal:
        async with portal.open_context(ends, how=how, key=key) as (_, _first):
            await ctx.started()
            await trio.sleep_forever()


async def cancel_actor(name: str) -> bool:
    async with tractor.find_actor(name, raise_on_none=True) as portal:
        return await portal.cancel_actor()


# -- contexts --------------------------------------------------------------------------------


@tractor.context
async def twice_started(ctx: tractor.Context) -> str:
    await ctx.started(1)
    try:
        await ctx.started(2)
    except RuntimeError as error:
        return str(error)
    return "no error"


@tractor.context
async def streams_too_early(ctx: tractor.Context) -> str:
    try:
        async with ctx.open_stream():
            said = "no error"
    except RuntimeError as error:
        said = str(error)
    await ctx.started()
    return said


@tractor.context
async def never_started(ctx: tractor.Context) -> str:
    return "at once"


@tractor.context
async def ends(ctx: tractor.Context, how: str, key: str = "", value: int = 0) -> int:
    """A context that ends as the scenario says."""
    try:
        if how == "fail early":
            raise OwnError("early")
        await ctx.started(value)
        match how:
            case "return":
                return value + 1
            case "fail":
                raise OwnError("late")
            case "cancel itself":
                await ctx.cancel()
            case "wait":
                note(key, "waiting")
                await trio.sleep_forever()
            case "fail in stream":
                async with ctx.open_stream() as stream:
                    await stream.receive()
                    raise OwnError("in stream")
            case "wait in stream":
                async with ctx.open_stream() as stream:
                    note(key, "waiting")
                    await stream.receive()
            case "leave stream":
                async with ctx.open_stream() as stream:
                    await stream.send(value)
                await trio.sleep_forever()
            case "return while streaming":
                async with ctx.open_stream() as stream:
                    for item in range(value):
                        await stream.send(item)
        return value
    finally:
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()
        note(key, "ended")


@tractor.context
async def checks_identity(this: tractor.Context) -> list[Any]:
    """The parameter has any name, and the facts fit."""
    await this.started(tractor.current_ipc_ctx() is this)
    async with trio.open_nursery() as nursery:
        seen: list[bool] = []

        async def look() -> None:
            seen.append(tractor.current_ipc_ctx() is this)

        nursery.start_soon(look)
    return [seen, this.side, this.peer_side, this.cid, list(this.chan.aid.uid)]


@tractor.context
async def never_gets_started(ctx: tractor.Context, key: str) -> None:
    await wait_for_ever(key)


@tractor.context
async def cleans_up_slowly(ctx: tractor.Context, key: str, seconds: float) -> None:
    await ctx.started()
    note(key, "waiting")
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(seconds)
        note(key, "cleaned up")


# -- streams ---------------------------------------------------------------------------------


@tractor.context
async def echoes(ctx: tractor.Context, overflow: str | None = None) -> str:
    await ctx.started()
    async with ctx.open_stream(overflow=overflow) as stream:  # type: ignore[arg-type]
        async for value in stream:
            await stream.send(value)
    return "echoed"


@tractor.context
async def counts(ctx: tractor.Context, count: int, key: str = "") -> int:
    """Sends so many values as fast as it may."""
    await ctx.started()
    sent = 0
    async with ctx.open_stream() as stream:
        try:
            for value in range(count):
                await stream.send(value)
                sent += 1
        except tractor.StreamOverrun as error:
            note(key, f"overrun after {sent}")
            assert isinstance(error, trio.TooSlowError)
            raise
        finally:
            note(key, f"sent {sent}")
    return sent


@tractor.context
async def collects(
    ctx: tractor.Context, overflow: str, pause_after: int, key: str = "", window: int = 64
) -> list[int]:
    """Takes some values, pauses until it is told to go on, and takes the rest."""
    await ctx.started()
    taken: list[int] = []
    async with ctx.open_stream(overflow=overflow, msg_buffer_size=window) as stream:  # type: ignore[arg-type]
        for _ in range(pause_after):
            taken.append(await stream.receive())
        try:
            while "go on" not in _notes[key]:
                await trio.sleep(0.01)
        except trio.Cancelled:
            note(key, "interrupted")
            raise
        async for value in stream:
            taken.append(value)
    return [len(taken), sum(taken), int(taken == sorted(taken))]


async def go_on(key: str) -> None:
    note(key, "go on")


@tractor.context
async def takes_sizes(ctx: tractor.Context) -> list[int]:
    await ctx.started()
    async with ctx.open_stream(overflow="block") as stream:
        return [len(value) async for value in stream]


@tractor.context
async def sends_sizes(ctx: tractor.Context, sizes: list[int]) -> None:
    await ctx.started()
    async with ctx.open_stream() as stream:
        for size in sizes:
            await stream.send(bytes(size))


@tractor.context
async def misuses_stream(ctx: tractor.Context) -> list[str]:
    """Everything that one may not do with a stream, and what came of it."""
    await ctx.started()
    said: list[str] = []
    async with ctx.open_stream() as stream:
        pass
    for attempt in (lambda: stream.send(1), stream.receive):
        try:
            await attempt()
        except trio.ClosedResourceError as error:
            said.append(type(error).__name__)
    try:
        async with ctx.open_stream():
            pass
    except RuntimeError as error:
        said.append(str(error))
    return said


async def numbers(count: int, key: str = "", fail_at: int = -1) -> AsyncGenerator[int, None]:
    try:
        for number in range(count):
            if number == fail_at:
                raise OwnError(f"at {number}")
            yield number
        note(key, "exhausted")
    finally:
        note(key, "closed")


async def rows(count: int) -> AsyncIterator[Row]:
    for number in range(count):
        yield Row(
            uuid.UUID(int=number),
            datetime(2024, 1, 1 + number),
            Colour.RED,
            {"a"},
            (number, 1),
            Decimal("1.5"),
        )


async def knows_context() -> AsyncIterator[str]:
    context = tractor.current_ipc_ctx()
    yield context.side if context is not None else "none"


@tractor.context
async def collects_and_sends(ctx: tractor.Context, count: int) -> None:
    """Waits for a word, then sends so many values."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        await stream.receive()
        for value in range(count):
            await stream.send(value)


with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)

    @tractor.stream
    async def marked(stream: tractor.MsgStream[int, Any], upto: int) -> None:
        for number in range(upto):
            await stream.send(number)

    @tractor.stream
    async def marked_with_context(ctx: tractor.Context, upto: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            for number in range(upto):
                await ctx.send_yield(number)

    @tractor.stream
    async def marked_generator(upto: int) -> AsyncIterator[int]:
        for number in range(upto):
            yield number


# -- contracts -------------------------------------------------------------------------------


@tractor.context(pld_spec=int | None)
async def contracted(ctx: tractor.Context, key: str = "", bad: str = "") -> Any:
    """Keeps, or does not keep, to the contract."""
    try:
        await ctx.started("not a number")
    except tractor.MsgTypeError as error:
        note(key, f"started refused: {error.expected_msg_type}")
    await ctx.started(1)
    if bad == "return":
        return "not a number"
    try:
        async with ctx.open_stream() as stream:
            async for value in stream:
                await stream.send("no number" if bad == "send" else value)
    except tractor.MsgTypeError as error:
        note(key, f"received against the contract: {error.path}")
        raise
    return None
