"""Shared context managers: one instance, whoever came first, closed by whoever leaves last."""

from __future__ import annotations

import contextvars
import math
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tractor_core.trionics import maybe_open_context, maybe_open_nursery

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")


class Shared:
    """Counts how often it is opened, and fails when two are open at once."""

    def __init__(self, enter: float = 0, leave: float = 0) -> None:
        self.enter, self.leave = enter, leave
        self.opened = 0
        self.open = 0
        self.cancelled = 0

    @asynccontextmanager
    async def manager(self, tag: str = "") -> AsyncGenerator[str, None]:
        await trio.sleep(self.enter)
        assert self.open == 0
        self.opened += 1
        self.open += 1
        try:
            yield f"{tag}{self.opened}{variable.get()}"
        except trio.Cancelled:
            self.cancelled += 1
            raise
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(self.leave)
            self.open -= 1


async def test_opened_once_and_closed_by_the_last(autojump_clock: MockClock) -> None:
    shared = Shared(enter=1)
    variable.set("x")
    seen: list[tuple[bool, str]] = []

    async def use(seconds: float) -> None:
        async with maybe_open_context(shared.manager, {"tag": "t"}) as answer:
            seen.append(answer)
            await trio.sleep(seconds)
            assert shared.open == 1

    async with trio.open_nursery() as nursery:
        for seconds in (1, 5, 2):
            nursery.start_soon(use, seconds)
    assert sorted(seen) == [(False, "t1x"), (True, "t1x"), (True, "t1x")]
    assert (shared.opened, shared.open, shared.cancelled) == (1, 0, 0)
    async with maybe_open_context(shared.manager, {"tag": "t"}) as (hit, value):
        assert (hit, value) == (False, "t2x")


async def test_arguments_and_keys_tell_apart() -> None:
    opened: list[Any] = []

    @asynccontextmanager
    async def manager(value: Any = None) -> AsyncGenerator[Any, None]:
        opened.append(value)
        yield value

    async with (
        maybe_open_context(manager, {"value": 1}) as one,
        maybe_open_context(manager, {"value": 2}) as two,
    ):
        async with maybe_open_context(manager, {"value": 1}) as again:
            assert (one, two, again) == ((False, 1), (False, 2), (True, 1))
    with pytest.raises(TypeError, match="key="):
        async with maybe_open_context(manager, {"value": [1]}):
            pass
    async with maybe_open_context(manager, {"value": [1]}, key="k") as first:
        async with maybe_open_context(manager, {"value": [2]}, key="k") as second:
            assert (first, second) == ((False, [1]), (True, [1]))
    assert opened == [1, 2, [1]]


@pytest.mark.parametrize("when", [0.5, 2])
async def test_cancelling_the_first_user_harms_nobody(autojump_clock: MockClock, when: float) -> None:
    shared = Shared(enter=1)
    first_scope = trio.CancelScope()

    async def first() -> None:
        with first_scope:
            async with maybe_open_context(shared.manager):
                await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(first)
        await wait_all_tasks_blocked()
        first_scope.deadline = trio.current_time() + when
        async with maybe_open_context(shared.manager) as (hit, _):
            assert hit
            await trio.sleep(5)
            assert first_scope.cancelled_caught
            assert shared.open == 1
    assert (shared.opened, shared.open, shared.cancelled) == (1, 0, 0)


@pytest.mark.parametrize("when", [0.5, 2])
async def test_cancelling_the_only_user_closes(autojump_clock: MockClock, when: float) -> None:
    shared = Shared(enter=1, leave=3)
    with trio.move_on_after(when) as scope:
        async with maybe_open_context(shared.manager):
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert shared.open == 0
    assert shared.opened == (when > 1)


async def test_an_error_of_the_last_user_cancels_what_would_wait(autojump_clock: MockClock) -> None:
    @asynccontextmanager
    async def waits_for_children() -> AsyncGenerator[None, None]:
        async with maybe_open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            yield

    with pytest.raises(KeyError):
        async with maybe_open_context(waits_for_children):
            raise KeyError("mine")


@pytest.mark.parametrize("seed", range(3))
async def test_a_thousand_users_come_go_and_are_cancelled(seed: int, autojump_clock: MockClock) -> None:
    """Never two open at once, nobody sees one that is closed, and as many are closed as were opened."""
    shared = Shared(enter=0.3, leave=0.2)
    chance = random.Random(seed)
    held = 0

    async def use(arrives: float, stays: float, patience: float) -> None:
        nonlocal held
        await trio.sleep(arrives)
        with trio.move_on_after(patience):
            async with maybe_open_context(shared.manager) as (_, value):
                held += 1
                opening = shared.opened
                assert value.startswith(str(opening))
                try:
                    await trio.sleep(stays)
                finally:
                    assert shared.open == 1 and shared.opened == opening

    async with trio.open_nursery() as nursery:
        for _ in range(1000):
            patience = chance.uniform(0, 2) if chance.random() < 0.3 else math.inf
            # Bursts far apart, so that there are several openings, and users inside of each.
            arrives = chance.choice([0.0, 0.1, 2.0, 9.0, 9.3]) + chance.choice([0.0, chance.random()])
            nursery.start_soon(use, arrives, chance.uniform(0, 2), patience)
    assert held > 700
    assert 2 <= shared.opened < 20
    assert shared.open == 0


async def test_a_thousand_users_of_one_that_fails_to_open() -> None:
    @asynccontextmanager
    async def failing() -> AsyncGenerator[None, None]:
        await trio.lowlevel.checkpoint()
        raise LookupError("no such thing")
        yield

    failed = 0

    async def use() -> None:
        nonlocal failed
        with pytest.raises(LookupError):
            async with maybe_open_context(failing):
                raise AssertionError("entered")
        failed += 1

    async with trio.open_nursery() as nursery:
        for _ in range(1000):
            nursery.start_soon(use)
    assert failed == 1000


async def test_who_comes_while_it_closes_gets_a_new_one(autojump_clock: MockClock) -> None:
    shared = Shared(leave=5)
    async with trio.open_nursery() as nursery:

        async def use() -> None:
            async with maybe_open_context(shared.manager):
                pass

        nursery.start_soon(use)
        await trio.sleep(1)
        async with maybe_open_context(shared.manager) as (hit, value):
            assert (hit, value[0]) == (False, "2")


async def test_cancelled_while_closing(autojump_clock: MockClock) -> None:
    closed = False

    @asynccontextmanager
    async def slow() -> AsyncGenerator[None, None]:
        nonlocal closed
        try:
            yield
            await trio.sleep_forever()
        finally:
            closed = True

    with trio.move_on_after(1) as scope:
        async with maybe_open_context(slow):
            pass
    assert scope.cancelled_caught
    assert closed


async def test_failing_to_open_is_raised_to_all_and_not_remembered(autojump_clock: MockClock) -> None:
    attempts = 0

    @asynccontextmanager
    async def flaky() -> AsyncGenerator[str, None]:
        nonlocal attempts
        attempts += 1
        await trio.sleep(1)
        if attempts == 1:
            raise ValueError("first attempt")
        yield "fine"

    failures = 0

    async def use() -> None:
        nonlocal failures
        with pytest.raises(ValueError, match="first attempt"):
            async with maybe_open_context(flaky):
                raise AssertionError("not reached")
        failures += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(use)
        nursery.start_soon(use)
    assert failures == 2
    async with maybe_open_context(flaky) as answer:
        assert answer == (False, "fine")


@asynccontextmanager
async def crashing() -> AsyncGenerator[None, None]:
    async def crash() -> None:
        await trio.sleep(5)
        raise ValueError("crash")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(crash)
        yield


async def test_a_crash_while_open_ends_every_block(autojump_clock: MockClock) -> None:
    ended = 0

    async def use() -> None:
        nonlocal ended
        with pytest.raises(ValueError, match="crash"):
            async with maybe_open_context(crashing):
                await trio.sleep_forever()
        ended += 1

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(use)
    assert ended == 3


async def test_errors_of_the_block_and_of_the_context_are_both_raised(autojump_clock: MockClock) -> None:
    @asynccontextmanager
    async def failing_to_close() -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            raise ValueError("closing")

    with pytest.raises(ExceptionGroup) as caught:
        async with maybe_open_context(failing_to_close):
            raise KeyError("block")
    assert [type(exc) for exc in caught.value.exceptions] == [KeyError, ValueError]
    with pytest.raises(ValueError, match="closing"):
        async with maybe_open_context(failing_to_close):
            pass


async def test_system_exit_inside_reaches_the_user_not_trio() -> None:
    @asynccontextmanager
    async def exits() -> AsyncGenerator[None, None]:
        raise SystemExit(3)
        yield

    with pytest.raises(SystemExit):
        async with maybe_open_context(exits):
            pass


@pytest.mark.parametrize("late", [False, True])
async def test_who_is_cancelled_with_the_given_nursery_is_just_cancelled(late: bool) -> None:
    shared = Shared()
    caught: list[BaseException] = []
    look_up = trio.Event()

    async def use(holder: trio.Nursery) -> None:
        try:
            async with maybe_open_context(shared.manager, tn=holder):
                if late:
                    # Looks up only when the shared context is gone.
                    with trio.CancelScope(shield=True):
                        await look_up.wait()
                else:
                    await trio.sleep_forever()
        except BaseException as exc:
            caught.append(exc)
            raise

    async with trio.open_nursery() as holder:
        holder.start_soon(use, holder)
        holder.start_soon(use, holder)
        await wait_all_tasks_blocked()
        assert len(holder.child_tasks) == 3
        holder.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await wait_all_tasks_blocked()
        look_up.set()
    assert [type(exc) for exc in caught] == [trio.Cancelled] * 2
    assert shared.open == 0


async def test_users_elsewhere_of_a_cancelled_nursery() -> None:
    shared = Shared()
    ready = trio.Event()
    holder_scope = trio.CancelScope()

    async def hold() -> None:
        with holder_scope:
            async with trio.open_nursery() as holder, maybe_open_context(shared.manager, tn=holder):
                ready.set()
                await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold)
        await ready.wait()
        with pytest.raises(trio.BrokenResourceError):
            async with maybe_open_context(shared.manager):
                holder_scope.cancel()
                await trio.sleep_forever()
    assert holder_scope.cancelled_caught
    assert shared.open == 0


def test_nothing_is_shared_between_trio_runs() -> None:
    shared = Shared()

    async def main() -> bool:
        async with maybe_open_context(shared.manager) as (hit, _):
            return hit

    assert [trio.run(main), trio.run(main)] == [False, False]
