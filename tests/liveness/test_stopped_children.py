"""When a child that is stopped is taken for dead, with states and a clock that the test sets."""

from __future__ import annotations

import math
from contextlib import AbstractAsyncContextManager

import pytest
import trio
import trio.testing

import tractor_core as tractor
from tractor_core.app.inproc import InprocActor
from tractor_core.errors import ActorDied
from tractor_core.supervision import stopped as stopped_module
from tractor_core.supervision.policy import TeardownPolicy


class Table:
    """In place of the system's: the one process, and whether it is stopped."""

    def __init__(self) -> None:
        self.halted = False
        self.looks = 0

    def __call__(self, pid: int) -> bool:
        self.looks += 1
        return self.halted


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Table:
    """Actors in this process that have a process id, which nobody signals."""
    table = Table()
    monkeypatch.setattr(InprocActor, "pid", 2**30)
    monkeypatch.setattr(stopped_module.StoppedChildren.__init__, "__kwdefaults__", {"halted": table})
    return table


def tree(policy: TeardownPolicy | None = None) -> AbstractAsyncContextManager[tractor.ActorNursery]:
    return tractor.open_nursery(registry_addrs=["mem://stopped"], start_method="inproc", policy=policy)


async def test_a_stopped_child_is_dead_to_its_owner(
    autojump_clock: trio.testing.MockClock, table: Table
) -> None:
    begun = 0.0
    with pytest.raises(ActorDied, match=r"'frozen'.*taken for dead: it has been stopped for 3 s"):
        async with tree() as nursery:
            portal = await nursery.start_actor("frozen")
            await trio.sleep(100)
            table.halted, begun = True, trio.current_time()
            reason = await portal.chan.wait_closed()
            assert isinstance(reason, ActorDied)
            assert 3 <= trio.current_time() - begun <= 4.5
            await trio.sleep_forever()


@pytest.mark.parametrize("phase", [0.0, 0.1, 0.5, 0.9, 0.99])
async def test_it_is_noticed_as_soon_whatever_it_said_last(
    autojump_clock: trio.testing.MockClock, table: Table, phase: float
) -> None:
    with pytest.raises(ActorDied):
        async with tree() as nursery:
            portal = await nursery.start_actor("talkative")
            await trio.sleep(100 + phase)
            portal.chan.heard += 1
            table.halted, begun = True, trio.current_time()
            await portal.chan.wait_closed()
            assert 3 <= trio.current_time() - begun <= 4.1
            await trio.sleep_forever()


async def test_one_that_goes_on_in_time_is_kept(autojump_clock: trio.testing.MockClock, table: Table) -> None:
    async with tree() as nursery:
        portal = await nursery.start_actor("napping")
        for _ in range(20):
            table.halted = True
            await trio.sleep(2.5)
            table.halted = False
            await trio.sleep(1.1)
        assert portal.chan.connected()
        await nursery.cancel()


async def test_a_stop_of_the_whole_tree_is_not_held_against_children(
    autojump_clock: trio.testing.MockClock, table: Table
) -> None:
    """The parent was stopped too: it sees a stopped child first, and its clock has gone on."""
    async with tree() as nursery:
        portal = await nursery.start_actor("worker")
        await trio.sleep(10)
        table.halted = True
        await trio.sleep(1.1)
        autojump_clock.jump(600)
        await trio.lowlevel.checkpoint()
        await trio.sleep(1.0)
        table.halted = False
        await trio.sleep(10)
        assert portal.chan.connected()
        await nursery.cancel()


async def test_infinite_patience_is_possible(autojump_clock: trio.testing.MockClock, table: Table) -> None:
    async with tree(TeardownPolicy(stopped=math.inf)) as nursery:
        portal = await nursery.start_actor("studied")
        table.halted = True
        await trio.sleep(1000)
        assert portal.chan.connected()
        table.halted = False
        await nursery.cancel()


async def leave() -> None:
    tractor.current_actor().cancel_soon()


async def test_one_that_left_by_itself_is_not_looked_at(
    autojump_clock: trio.testing.MockClock, table: Table
) -> None:
    async with tree() as nursery:
        portal = await nursery.start_actor("on its own", enable_modules=[leave])
        await portal.run(leave)
        await portal.chan.wait_closed()
        await trio.sleep(5)
        before = table.looks
        await trio.sleep(100)
        assert table.looks == before


async def test_nobody_looks_when_there_are_no_children(
    autojump_clock: trio.testing.MockClock, table: Table
) -> None:
    async with tree() as nursery:
        portal = await nursery.start_actor("short")
        await trio.sleep(10)
        assert 0 < table.looks <= 11
        await portal.cancel_actor()
        await portal.chan.wait_closed()
        await trio.sleep(5)
        before = table.looks
        await trio.sleep(100)
        assert table.looks == before
