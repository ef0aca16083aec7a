"""Real trees whose actors were started by every method, alone and mixed."""

from __future__ import annotations

import os
import re
import signal
import threading
from pathlib import Path
from typing import Any

import method_endpoints as endpoints
import pytest
import trio

import tractor_core as tractor
from tractor_core.seams import ExitStatus

METHODS = ("subprocess", "forkserver", "multiprocessing")
NEW_METHODS = ("forkserver", "multiprocessing")


@pytest.mark.parametrize("method", METHODS)
async def test_an_environment_that_no_process_can_have_is_refused_by_all(method: str) -> None:
    async with tractor.open_nursery(registry_addrs=["mem://here"]) as nursery:
        for name, value in (("A=B", "x"), ("", "x"), ("A", "x\0y"), ("A\0", "x"), ("A", "\ud800")):
            with pytest.raises(ValueError, match=re.escape(f"{name!r}")):
                await nursery.start_actor("never", start_method=method, proc_kwargs={"env": {name: value}})
        wrong: dict[Any, Any]
        for wrong in ({"A": 5}, {5: "x"}):
            with pytest.raises(TypeError, match="is a string, not int"):
                await nursery.start_actor("never", start_method=method, proc_kwargs={"env": wrong})
        assert not nursery._children


@pytest.mark.parametrize("method", NEW_METHODS)
async def test_calls_streams_and_errors(registry: str, method: str) -> None:
    async with tractor.open_nursery(registry_addrs=[registry]) as nursery:
        portal = await nursery.start_actor("worker", enable_modules=["method_endpoints"], start_method=method)
        assert await portal.run(endpoints.double, value=21) == 42
        assert await portal.run(endpoints.own_pid) != os.getpid()
        with pytest.raises(tractor.RemoteActorError, match="as asked") as caught:
            await portal.run(endpoints.fail)
        assert caught.value.boxed_type is ValueError
        async with portal.open_context(endpoints.echo, first=7) as (context, first):
            assert first == 7
            async with context.open_stream() as stream:
                await stream.send(1)
                assert await stream.receive() == 1
        assert await context.wait_for_result() == "done"
        async with portal.open_stream_from(endpoints.count, number=3) as stream:
            assert [value async for value in stream] == [0, 1, 2]
        async with tractor.find_actor("worker") as found:
            assert found is not None
        once = await nursery.run_in_actor(endpoints.double, value=4, start_method=method)
        assert await once.wait_for_result() == 8
        await portal.cancel_actor()


@pytest.mark.limit(60)
@pytest.mark.parametrize("first", METHODS)
async def test_methods_mix_in_one_tree(registry: str, first: str) -> None:
    below = {
        "subprocess": ["forkserver", "multiprocessing"],
        "forkserver": ["forkserver", "subprocess"],
        "multiprocessing": ["multiprocessing", "forkserver"],
    }[first]
    async with tractor.open_nursery(registry_addrs=[registry]) as nursery:
        portals = [
            await nursery.start_actor(
                f"sibling-{method}", enable_modules=["method_endpoints"], start_method=method
            )
            for method in METHODS
        ]
        top = await nursery.start_actor("top", enable_modules=["method_endpoints"], start_method=first)
        result, pids = await top.run(endpoints.double_below, value=1, methods=below)
        assert result == 2
        assert len(set(pids)) == 3
        for portal in portals:
            assert await portal.run(endpoints.double, value=1) == 2
        await nursery.cancel()
    assert not [pid for pid in pids if is_alive(pid)]


@pytest.mark.parametrize("method", NEW_METHODS)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
async def test_the_death_of_an_actor_names_the_signal(
    free_tcp_registry: str, method: str, number: signal.Signals
) -> None:
    with pytest.raises(tractor.ActorDied, match=f"victim.*{number.name}") as caught:
        async with tractor.open_nursery(registry_addrs=[free_tcp_registry]) as nursery:
            portal = await nursery.start_actor(
                "victim", enable_modules=["method_endpoints"], start_method=method
            )
            os.kill(await portal.run(endpoints.own_pid), number)
            await portal.run(endpoints.forever)
    assert caught.value.exit_status == ExitStatus(signal=number)


@pytest.mark.limit(90)
@pytest.mark.parametrize("method", NEW_METHODS)
async def test_many_at_once(registry: str, method: str) -> None:
    total = 32 if method == "forkserver" else 8
    answers: dict[int, int] = {}
    async with tractor.open_nursery(registry_addrs=[registry]) as nursery:

        async def one(index: int) -> None:
            portal = await nursery.start_actor(
                f"worker-{index}", enable_modules=["method_endpoints"], start_method=method
            )
            answers[index] = await portal.run(endpoints.double, value=index)

        async with trio.open_nursery() as tasks:
            for index in range(total):
                tasks.start_soon(one, index)
        await nursery.cancel()
    assert answers == {index: 2 * index for index in range(total)}


@pytest.mark.limit(180)
@pytest.mark.parametrize(("method", "rounds"), [("forkserver", 200), ("multiprocessing", 20)])
async def test_rounds_leave_nothing(free_tcp_registry: str, method: str, rounds: int) -> None:
    async with tractor.open_root_actor(registry_addrs=[free_tcp_registry]):

        async def one_round(index: int) -> None:
            async with tractor.open_nursery() as nursery:
                await nursery.start_actor(f"round-{index}", start_method=method)
                await nursery.cancel()

        await one_round(-1)
        before = belongings()
        for index in range(rounds):
            await one_round(index)
        with trio.move_on_after(15):
            while grown(before, belongings()):
                await trio.sleep(0.02)
        assert not grown(before, belongings())


def belongings() -> dict[str, object]:
    """How many descriptors and threads this process has, and what descends from it, zombies included."""
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "descendants": descendants(os.getpid()),
    }


def grown(before: dict[str, object], after: dict[str, object]) -> dict[str, object]:
    """What there is more of, or others of. Trio keeps idle threads for a while, so there may be fewer."""
    return {
        name: (was, after[name])
        for name, was in before.items()
        if (after[name] > was if isinstance(was, int) else after[name] != was)  # type: ignore[operator]
    }


def descendants(pid: int) -> list[int]:
    """Every process below ``pid``."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    found = []
    for child in map(int, children):
        found += [child, *descendants(child)]
    return sorted(found)


def is_alive(pid: int) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        return re.search(r"\) [ZX] ", Path(f"/proc/{pid}/stat").read_text()) is None
    except (FileNotFoundError, ProcessLookupError):
        return False
