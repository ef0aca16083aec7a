"""Actors of one process that live in different runs of trio, and what a root leaves when it ends."""

from __future__ import annotations

import contextvars
import threading

import pytest
import trio
import trio.testing

import tractor_core as tractor


async def add(x: int, y: int) -> int:
    return x + y


async def run_a_tree(url: str) -> int:
    """A tree of two actors; its root is booted here."""
    async with tractor.open_nursery(registry_addrs=[url], start_method="inproc") as nursery:
        portal = await nursery.start_actor("worker", enable_modules=[__name__])
        total = await portal.run(add, 1, 2)
        await nursery.cancel()
        return total


async def test_a_nursery_in_another_thread_boots_a_root_of_its_own() -> None:
    totals: list[int] = []
    async with tractor.open_root_actor(registry_addrs=["mem://here"], start_method="inproc"):
        thread = threading.Thread(target=lambda: totals.append(trio.run(run_a_tree, "mem://there")))
        thread.start()
        await trio.to_thread.run_sync(thread.join)
        # In the run that it lives in, the root is found also where the context variable is not set.
        found: list[tractor.Actor] = []
        trio.lowlevel.spawn_system_task(_note_actor, found, context=contextvars.Context())
        await trio.testing.wait_all_tasks_blocked()
        assert found == [tractor.current_actor()]
    assert totals == [3]


async def _note_actor(found: list[tractor.Actor]) -> None:
    async with tractor.open_nursery():
        found.append(tractor.current_actor())


async def test_a_root_that_has_ended_is_not_found_any_more() -> None:
    async with tractor.open_root_actor(registry_addrs=["mem://gone"], start_method="inproc"):
        inherited = contextvars.copy_context()
    assert inherited.run(tractor.current_actor, err_on_no_runtime=False) is None
    with pytest.raises(tractor.NoRuntime):
        inherited.run(tractor.current_actor)


async def test_a_cancel_while_listeners_are_opened_leaves_none(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Whenever it comes: of several addresses none stays taken."""
    addresses = [f"mem://many-{index}" for index in range(5)]
    for turns in range(40):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_after, turns, scope)
                async with tractor.open_root_actor(registry_addrs=addresses[:1], bind_addrs=addresses[1:]):
                    await trio.sleep_forever()
        async with tractor.open_root_actor(registry_addrs=addresses[:1], bind_addrs=addresses[1:]) as actor:
            assert {address.url for address in actor.accept_addrs} == set(addresses)


async def _cancel_after(turns: int, scope: trio.CancelScope) -> None:
    for _ in range(turns):
        await trio.lowlevel.checkpoint()
    scope.cancel()
