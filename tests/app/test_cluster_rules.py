"""What a cluster refuses, and how it ends."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

import tractor_core as tractor
from tractor_core.supervision.nursery import ActorNursery

OPTIONS: dict[str, Any] = {"registry_addrs": ["mem://cluster-rules"], "start_method": "inproc"}


async def whoami() -> str:
    return tractor.current_actor().name


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"modules": [], "count": 0}, ValueError, "at least one actor, not 0"),
        ({"modules": [], "names": []}, ValueError, "at least one actor, not 0"),
        ({"modules": [], "count": 3, "names": ["a", "b"]}, ValueError, "2 names were given for 3 actors"),
        ({"modules": [], "names": ["a", "b", "a"]}, ValueError, "names must be unique"),
        ({"modules": "os"}, TypeError, r"modules is a list, so write modules=\['os'\]"),
        ({"modules": [], "names": "ab"}, TypeError, r"names is a list, so write names=\['ab'\]"),
    ],
)
async def test_what_makes_no_sense_is_refused_before_anything_starts(
    arguments: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        async with tractor.open_actor_cluster(**arguments, **OPTIONS):
            raise AssertionError("not reached")
    assert tractor.current_actor(err_on_no_runtime=False) is None


async def test_names_alone_say_how_many(autojump_clock: MockClock) -> None:
    async with tractor.open_actor_cluster([__name__], names=["b", "a"], **OPTIONS) as portals:
        assert [await portal.run(whoami) for portal in portals.values()] == list(portals) == ["b", "a"]


@pytest.mark.parametrize("hard_kill", [False, True])
async def test_inside_an_actor_it_is_that_actors(autojump_clock: MockClock, hard_kill: bool) -> None:
    async with tractor.open_root_actor(name="mine", **OPTIONS):
        async with tractor.open_actor_cluster([], count=2, hard_kill=hard_kill) as portals:
            assert list(portals) == ["mine.worker_0", "mine.worker_1"]
        with pytest.raises(RuntimeError, match="registry_addrs"):
            async with tractor.open_actor_cluster([], count=1, registry_addrs=["mem://other"]):
                pass
        async with tractor.find_actor("mine.worker_0") as gone:
            assert gone is None


async def test_one_that_does_not_start_ends_the_others_and_is_raised_bare(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_actor = ActorNursery.start_actor
    started: list[tractor.Portal] = []

    async def some_fail(self: ActorNursery, name: str, **options: Any) -> tractor.Portal:
        if name == "c":
            await trio.sleep(1)
            raise OSError("no room for c")
        started.append(await start_actor(self, name, **options))
        return started[-1]

    monkeypatch.setattr(ActorNursery, "start_actor", some_fail)
    with pytest.raises(OSError, match="no room for c"):
        async with tractor.open_actor_cluster([], names=["a", "b", "c"], **OPTIONS):
            raise AssertionError("not reached")
    assert [portal.chan.connected() for portal in started] == [False, False]


async def test_an_error_of_the_block_is_raised_bare(autojump_clock: MockClock) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with tractor.open_actor_cluster([], count=2, **OPTIONS) as portals:
            raise KeyError("mine")
    assert not any(portal.chan.connected() for portal in portals.values())
