"""What clients learn of errors, and what they can do to the log."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import pytest
import trio
from other_roots import other_root
from trio.testing import MockClock

import tractor_core as tractor
from tractor_core.msg import types as m
from tractor_core.msg.boxing import DEPTH_LIMIT, without_tracebacks
from tractor_core.msg.types import Aid, BoxedError

HERE = "mem://what-clients-see"
TOKENS = {"token-of-the-first-client": "first", "token-of-another-client": "another"}
FIRST, ANOTHER = TOKENS


class OutOfStock(Exception):
    pass


def out_of_stock() -> OutOfStock:
    error = OutOfStock("tea", 3)
    error.add_note("try again tomorrow")
    return error


@tractor.expose(clients=True)
async def fail() -> None:
    raise out_of_stock() from KeyError("shelf")


@tractor.expose(clients=True)
async def fail_twice() -> None:
    raise ExceptionGroup("two", [ValueError("one"), OutOfStock("milk")])


@tractor.expose(clients=True)
@tractor.context
async def fail_later(ctx: tractor.Context) -> None:
    await ctx.started()
    raise out_of_stock()


@tractor.expose(clients=True)
async def fail_after_one() -> AsyncIterator[int]:
    yield 1
    raise out_of_stock()


@tractor.expose(clients=True)
async def relay() -> None:
    """Fail of what failed in a child."""
    [child] = [
        channel for channels in tractor.current_actor().peers.values() for channel in channels
        if channel.aid.name == "child"
    ]  # fmt: skip
    await tractor.Portal(tractor.current_actor(), child).run(fail)


@tractor.expose(clients=True)
async def hang() -> None:
    await trio.sleep_forever()


@tractor.expose(clients=True)
async def spoil_the_end() -> None:
    try:
        await trio.sleep_forever()
    finally:
        raise OutOfStock("at the end")


def serving(**options: object):  # type: ignore[no-untyped-def]
    return other_root(registry_addrs=[HERE], enable_modules=[__name__], auth_tokens=TOKENS, **options)


async def errors_of(portal: tractor.Portal) -> list[tractor.RemoteActorError]:
    """One of each way in which an endpoint can fail."""
    with pytest.raises(tractor.RemoteActorError) as call:
        await portal.run(fail)
    with pytest.raises(tractor.RemoteActorError) as group:
        await portal.run(fail_twice)
    with pytest.raises(tractor.RemoteActorError) as context:
        async with portal.open_context(fail_later) as (ctx, _):
            await ctx.wait_for_result()
    with pytest.raises(tractor.RemoteActorError) as generator:
        async with portal.open_stream_from(fail_after_one) as stream:
            async for _value in stream:
                pass
    return [call.value, group.value, context.value, generator.value]


async def test_clients_get_type_message_and_notes_and_no_traceback(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(), tractor.open_portal(HERE, token=FIRST) as portal:
        call, group, context, generator = await errors_of(portal)
    for error in (call, context, generator):
        assert (error.boxed_type, error.message) == (OutOfStock, "('tea', 3)")
        assert error.unwrap().args == ("tea", 3)
        assert error.notes == ("try again tomorrow",)
        assert error.tb_str == ""
    assert isinstance(call.__cause__, tractor.RemoteActorError)
    assert (call.__cause__.boxed_type, call.__cause__.tb_str) == (KeyError, "")
    assert [(member.boxed_type, member.tb_str) for member in group.members] == [
        (ValueError, ""),
        (OutOfStock, ""),
    ]
    # Whoever runs the actor sees it instead.
    assert 'raise out_of_stock() from KeyError("shelf")' in caplog.text
    assert "a task for client first@" in caplog.text


async def test_a_relayed_error_says_nothing_of_the_actors_behind(autojump_clock: MockClock) -> None:
    async with other_root(
        registry_addrs=[HERE], enable_modules=[__name__], auth_tokens=TOKENS, start_method="inproc"
    ):
        async with tractor.open_nursery() as nursery:
            await nursery.start_actor("child", enable_modules=[__name__])
            async with tractor.open_portal(HERE, token=FIRST) as portal:
                with pytest.raises(tractor.RemoteActorError) as caught:
                    await portal.run(relay)
            async with tractor.open_portal(HERE) as portal:
                with pytest.raises(tractor.RemoteActorError) as full:
                    await portal.run(relay)
            await nursery.cancel()
    assert (caught.value.src_type, caught.value.message, caught.value.tb_str) == (
        OutOfStock,
        "('tea', 3)",
        "",
    )
    assert "out_of_stock()" in full.value.tb_str


async def test_clients_may_be_shown_tracebacks(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(client_tracebacks=True), tractor.open_portal(HERE, token=FIRST) as portal:
        for error in await errors_of(portal):
            assert "Traceback (most recent call last):" in error.tb_str
    assert "failed" not in caplog.text


async def test_actors_of_the_tree_are_shown_tracebacks(autojump_clock: MockClock) -> None:
    async with serving(), tractor.open_portal(HERE) as portal:
        for error in await errors_of(portal):
            assert "Traceback (most recent call last):" in error.tb_str


async def test_failing_calls_of_clients_do_not_fill_the_log(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(), tractor.open_portal(HERE, token=FIRST) as portal:
        for _ in range(100):
            with pytest.raises(tractor.RemoteActorError):
                await portal.run(fail)
        await trio.sleep(2)
        assert [record.getMessage() for record in complaints(caplog)][1:] == [
            "99 more like it from OutOfStock for client first within 1 s"
        ]


async def test_tasks_that_fail_when_their_client_leaves_do_not_fill_the_log(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving():
        async with tractor.open_portal(HERE, token=FIRST) as portal:
            for cid in range(1000, 1100, 2):
                portal.chan.post(start(cid, "spoil_the_end"))
            await trio.testing.wait_all_tasks_blocked()
            portal.chan.abort()
        await trio.sleep(2)
        first, count = complaints(caplog)
        assert "failed after its channel had ended" in first.getMessage() and first.exc_info
        assert count.getMessage() == "49 more like it from OutOfStock for client first within 1 s"


async def test_violations_by_clients_do_not_fill_the_log(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving():
        async with tractor.open_portal(HERE, token=FIRST) as portal:
            aid = Aid("x", "y")
            for cid in range(1000, 1100, 2):
                portal.chan.post(start(cid, "hang"))
                portal.chan.post(m.Started(cid, 1))  # type: ignore[arg-type]
                portal.chan.post(m.Hello(aid, "trct/1", ["msgpack"], b""))
            await trio.testing.wait_all_tasks_blocked()
        # Coming again is no way around it.
        for _ in range(10):
            async with tractor.open_portal(HERE, token=FIRST) as portal:
                portal.chan.post(start(1000, "hang"))
                portal.chan.post(m.Started(1000, 1))  # type: ignore[arg-type]
                await trio.testing.wait_all_tasks_blocked()
        # What others do is seen all the same.
        async with tractor.open_portal(HERE, token=ANOTHER) as portal:
            portal.chan.post(start(1000, "hang"))
            portal.chan.post(m.Started(1000, 1))  # type: ignore[arg-type]
            await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(2)
        first, another, count = (record.getMessage() for record in complaints(caplog))
        assert first.startswith("protocol violation by first@")
        assert another.startswith("protocol violation by another@")
        assert count == "109 more like it from first within 1 s"


def start(cid: int, name: str) -> m.Start:
    return m.Start(cid, f"{__name__}:{name}", "asyncfunc", (), {})  # type: ignore[arg-type]


def complaints(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_description_nested_too_deeply_is_cut() -> None:
    boxed = BoxedError("a:B", "", "a:B", traceback="secret")
    for _ in range(500):
        boxed = BoxedError("a:B", "", "a:B", traceback="secret", cause=boxed)
    bare, depth = without_tracebacks(boxed), 0
    while bare is not None:
        assert bare.traceback == ""
        bare, depth = bare.cause, depth + 1  # type: ignore[assignment]
    assert depth == DEPTH_LIMIT + 1
