"""Borrowed nurseries, careful starts, and managers entered at the same time."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tractor_core.trionics import gather_contexts, maybe_open_nursery, start_or_cancel


async def test_a_given_nursery_stays_open() -> None:
    async with trio.open_nursery() as outer:
        async with maybe_open_nursery(outer, shield=True) as nursery:
            assert nursery is outer
        assert not outer.cancel_scope.shield
        done = trio.Event()

        async def work() -> None:
            done.set()

        outer.start_soon(work)
        await done.wait()


async def test_a_new_nursery_is_waited_for_and_raises_bare() -> None:
    async def fail() -> None:
        await wait_all_tasks_blocked()
        raise ValueError("x")

    with pytest.raises(ValueError):
        async with maybe_open_nursery() as nursery:
            nursery.start_soon(fail)


async def test_a_new_nursery_can_be_shielded() -> None:
    finished = False

    async def finish() -> None:
        nonlocal finished
        await wait_all_tasks_blocked()
        finished = True

    with trio.CancelScope() as scope:
        async with maybe_open_nursery(shield=True) as nursery:
            scope.cancel()
            nursery.start_soon(finish)
    assert finished


async def swallowing(task_status: trio.TaskStatus[None]) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await trio.sleep_forever()


async def test_start_cut_short_by_cancellation_is_cancelled() -> None:
    async def until_cancelled(task_status: trio.TaskStatus[None]) -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            return  # as code that was not written for trio does

    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            scope.cancel()
            await start_or_cancel(nursery, until_cancelled)
    assert scope.cancelled_caught


async def test_start_that_fails_otherwise_is_not_hidden() -> None:
    async def fail(task_status: trio.TaskStatus[None]) -> None:
        raise RuntimeError("own fault")

    async def ready(value: int, task_status: trio.TaskStatus[int]) -> None:
        task_status.started(value)

    async with trio.open_nursery() as nursery:
        with pytest.raises(RuntimeError, match="started"):
            await start_or_cancel(nursery, swallowing)
        with pytest.raises(RuntimeError, match="own fault"):
            await start_or_cancel(nursery, fail)
        assert await start_or_cancel(nursery, ready, 3, name="three") == 3


class Log:
    """Managers that write down what happens to them."""

    def __init__(self) -> None:
        self.events: list[str] = []

    @asynccontextmanager
    async def manager(self, name: str, enter: float = 0, leave: float = 0) -> AsyncGenerator[str, None]:
        await trio.sleep(enter)
        self.events.append(f"+{name}")
        try:
            yield name
        except trio.Cancelled:
            self.events.append(f"!{name}")
            raise
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(leave)
            self.events.append(f"-{name}")


async def test_gathered_at_once_in_order(autojump_clock: MockClock) -> None:
    log = Log()
    started = trio.current_time()
    async with gather_contexts([log.manager("a", 3, 1), log.manager("b", 1, 3)]) as values:
        assert values == ("a", "b")
        assert trio.current_time() == started + 3
    assert trio.current_time() == started + 6
    assert log.events == ["+b", "+a", "-a", "-b"]


@pytest.mark.parametrize("given", [False, True])
async def test_failing_block_cancels_and_closes_all(autojump_clock: MockClock, given: bool) -> None:
    log = Log()
    async with trio.open_nursery() as nursery:
        with pytest.raises(KeyError):
            async with gather_contexts(
                [log.manager("a", 0, 2), log.manager("b", 0, 1)], nursery if given else None
            ):
                raise KeyError("x")
        assert sorted(log.events[2:]) == ["!a", "!b", "-a", "-b"]
        assert not nursery.child_tasks


@pytest.mark.parametrize("given", [False, True])
async def test_failing_to_enter_closes_the_others(autojump_clock: MockClock, given: bool) -> None:
    log = Log()

    @asynccontextmanager
    async def failing() -> AsyncGenerator[str, None]:
        await trio.sleep(2)
        raise ValueError("cannot enter")
        yield

    async with trio.open_nursery() as nursery:
        with pytest.raises(ValueError, match="cannot enter"):
            async with gather_contexts(
                [log.manager("early", 1), failing(), log.manager("late", 9)], nursery if given else None
            ):
                raise AssertionError("not reached")
        assert log.events == ["+early", "!early", "-early"]
        assert not nursery.child_tasks


async def test_a_manager_that_fails_meanwhile_ends_the_block(autojump_clock: MockClock) -> None:
    log = Log()

    @asynccontextmanager
    async def crashing() -> AsyncGenerator[None, None]:
        async def crash() -> None:
            await trio.sleep(5)
            raise ValueError("crash")

        async with maybe_open_nursery() as nursery:
            nursery.start_soon(crash)
            yield

    managers: list[AbstractAsyncContextManager[str | None]] = [log.manager("a"), crashing()]
    with pytest.raises(ValueError, match="crash"):
        async with gather_contexts(managers):
            await trio.sleep_forever()
    assert log.events == ["+a", "!a", "-a"]


async def test_several_that_fail_to_enter_are_a_group(autojump_clock: MockClock) -> None:
    log = Log()

    @asynccontextmanager
    async def failing(error: Exception) -> AsyncGenerator[str, None]:
        await trio.lowlevel.checkpoint()
        raise error
        yield

    with pytest.raises(ExceptionGroup) as caught:
        async with gather_contexts([failing(ValueError()), log.manager("a"), failing(KeyError())]):
            raise AssertionError("not reached")
    assert {type(error) for error in caught.value.exceptions} == {ValueError, KeyError}
    assert log.events.count("+a") == log.events.count("-a")


@asynccontextmanager
async def fails_to_close(error: Exception) -> AsyncGenerator[str, None]:
    yield "opened"
    raise error


async def test_failing_to_close_closes_the_others_and_is_raised_bare(autojump_clock: MockClock) -> None:
    log = Log()
    with pytest.raises(ValueError, match="cannot close"):
        async with gather_contexts(
            [log.manager("a", 0, 2), fails_to_close(ValueError("cannot close")), log.manager("b", 0, 1)]
        ) as values:
            assert values == ("a", "opened", "b")
    assert sorted(log.events[:2]) == ["+a", "+b"]
    assert log.events[2:] == ["-b", "-a"]


async def test_failing_to_close_after_a_failed_block_hides_neither(autojump_clock: MockClock) -> None:
    @asynccontextmanager
    async def fails_when_cancelled() -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            raise ValueError("cannot close")

    with pytest.raises(ExceptionGroup) as caught:
        async with gather_contexts([fails_when_cancelled()]):
            raise KeyError("block")
    assert {type(error) for error in caught.value.exceptions} == {ValueError, KeyError}


@pytest.mark.parametrize("given", [False, True])
async def test_cancelled_while_entering_open_and_closing(autojump_clock: MockClock, given: bool) -> None:
    for deadline in (1, 3, 5):
        log = Log()

        @asynccontextmanager
        async def slow_to_close(log: Log = log) -> AsyncGenerator[None, None]:
            async with log.manager("slow"):
                yield
                await trio.sleep(4)

        async with trio.open_nursery() as nursery:
            with trio.move_on_after(deadline) as scope:
                managers: list[AbstractAsyncContextManager[str | None]] = [
                    log.manager("a", 2),
                    slow_to_close(),
                ]
                async with gather_contexts(managers, nursery if given else None):
                    await trio.sleep(2)
            assert scope.cancelled_caught
            assert not nursery.child_tasks
            assert "-slow" in log.events
            assert log.events.count("+a") == log.events.count("-a")


async def test_gather_nothing_or_one_twice() -> None:
    log = Log()
    with pytest.raises(ValueError, match="no managers"):
        async with gather_contexts(iter(())):
            pass
    one = log.manager("a")
    with pytest.raises(ValueError, match="twice"):
        async with gather_contexts([one, one]):
            pass
    async with gather_contexts(log.manager(name) for name in "xyz") as values:
        assert values == ("x", "y", "z")
