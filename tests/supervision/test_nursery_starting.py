"""How actors start, nest and end, over trees of in-process actors in virtual time."""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from nursery_trees import (
    ENDPOINTS,
    LOG,
    close_at_the_end,
    empty_log,  # noqa: F401  (a fixture)
    end_self_and_wait,
    fail,
    name,
    nested_wait,
    nursery,
    wait,
)

import tractor_core as tractor
from tractor_core.errors import PluginError

pytestmark = pytest.mark.usefixtures("autojump_clock", "empty_log")


# -- starting --------------------------------------------------------------------------------


async def cancelled_after(steps: int, function: Callable[[], Awaitable[object]]) -> bool:
    """Run ``function``, cancelled after so many ticks of the loop; whether it ended before."""
    with trio.CancelScope() as scope:

        async def canceller() -> None:
            for _ in range(steps):
                await trio.lowlevel.cancel_shielded_checkpoint()
            scope.cancel()

        async with trio.open_nursery() as tasks:
            tasks.start_soon(canceller)
            await function()
            tasks.cancel_scope.cancel()
    return not scope.cancelled_caught


async def test_a_start_in_the_tick_in_which_the_nursery_ends_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """trio's nursery ends with its last task, a moment before the block does."""
    async with nursery() as an:
        async with trio.open_nursery() as ended:
            pass
        monkeypatch.setattr(an, "_nursery", ended)
        with pytest.raises(RuntimeError, match="starts no more actors"):
            await an.start_actor("late")
        assert not an._children
        with trio.fail_after(1):
            await an.cancel()


async def test_cancelled_while_starting_leaves_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with nursery() as an:
        for steps in range(120):
            if await cancelled_after(steps, lambda: an.start_actor("victim")):
                break
            assert not an._children
        else:
            pytest.fail("it never started")
        await an.cancel()
        assert not an._children
    # Its handshake, which nobody ends, is told of by whom it knocked at.
    rest = [record.getMessage() for record in caplog.records if record.name != "tractor_core.ipc"]
    assert not rest, "to be given up is no failure of an actor"


async def test_an_actor_that_was_left_and_then_ended_has_not_failed(caplog: pytest.LogCaptureFixture) -> None:
    async with nursery() as an:
        portal = await an.start_actor("left")
        portal.chan.abort()
        await an.cancel()
    assert not caplog.messages


@pytest.mark.parametrize("steps", range(0, 60, 4))
async def test_cancel_while_another_task_starts_an_actor(steps: int) -> None:
    async with nursery() as an:
        refused = []

        async def starter() -> None:
            try:
                await an.start_actor("starting")
            except RuntimeError as error:
                refused.append(str(error))

        async with trio.open_nursery() as tasks:
            tasks.start_soon(starter)
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            await an.cancel()
        assert not an._children
        assert all("cancelled" in message for message in refused), refused


async def test_a_module_that_cannot_be_imported_fails_the_start_alone() -> None:
    async with nursery() as an:
        other = await an.start_actor("other", enable_modules=[ENDPOINTS])
        with pytest.raises((tractor.RemoteActorError, ModuleNotFoundError), match="no_such_module"):
            await an.start_actor("broken", enable_modules=["no_such_module"])
        assert await other.run(name) == "other"
        await an.cancel()


async def test_an_unknown_start_method_lists_those_there_are() -> None:
    async with nursery() as an:
        with pytest.raises(PluginError, match=r"carrier-pigeon[\s\S]*subprocess"):
            await an.start_actor("bird", start_method="carrier-pigeon")
        assert not an._children


async def test_bad_options_are_refused_before_anything_starts() -> None:
    async with nursery() as an:
        with pytest.raises(TypeError, match="list of module names"):
            await an.start_actor("actor", enable_modules="module")
        with pytest.raises(TypeError, match="async function"):
            await an.run_in_actor(len)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="no options"):
            await an.start_actor("actor", spawn_options={"colour": "red"})
        with pytest.raises(PluginError, match="gopher"):
            await an.start_actor("actor", bind_addrs=["gopher://here"])
        assert not an._children


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spawn_options": "abc"}, "spawn_options is a mapping of options by name, not 'abc'"),
        ({"spawn_options": {5: 1}}, "spawn_options is a mapping of options by name, and 5 is no name"),
        ({"proc_kwargs": [1]}, r"proc_kwargs is a mapping of options by name, not \[1\]"),
        ({"proc_kwargs": ""}, "proc_kwargs is a mapping of options by name, not ''"),
        ({"proc_kwargs": {"env": "A=1"}}, "env is a mapping of variables by name, not str"),
        ({"proc_kwargs": {"cwd": b"/tmp"}}, "cwd is a string or an os.PathLike of one, not b'/tmp'"),
        ({"proc_kwargs": {"cwd": 5}}, "cwd is a string or an os.PathLike of one, not 5"),
    ],
)
async def test_options_of_the_wrong_type_are_named(options: dict[str, Any], message: str) -> None:
    async with nursery() as an:
        with pytest.raises(TypeError, match=message):
            await an.start_actor("actor", **options)
        with pytest.raises(TypeError, match=message):
            await an.run_in_actor(wait, **options)
        assert not an._children


async def test_names_may_be_used_twice() -> None:
    async with nursery() as an:
        first = await an.start_actor("twin", enable_modules=[ENDPOINTS])
        second = await an.start_actor("twin", enable_modules=[ENDPOINTS])
        assert first.chan.aid.uid != second.chan.aid.uid
        await an.cancel()


async def test_deprecated_names_of_options() -> None:
    async with nursery() as an:
        with pytest.warns(DeprecationWarning, match="enable_modules"):
            portal = await an.start_actor("old", rpc_module_paths=[ENDPOINTS])
        assert await portal.run(name) == "old"
        with pytest.warns(DeprecationWarning, match="bind_addrs"):
            await an.start_actor("bound", tpt_bind_addrs=["mem://bound"])
        await an.cancel()


# -- nurseries in one actor --------------------------------------------------------------------


async def test_nested_nurseries_in_one_actor() -> None:
    async with nursery() as outer:
        portal = await outer.start_actor("outer", enable_modules=[ENDPOINTS])
        with pytest.raises(tractor.RemoteActorError, match="inside"):
            async with tractor.open_nursery() as inner:
                await inner.run_in_actor(wait)
                await inner.run_in_actor(fail, message="inside", after=1)
        assert LOG == ["wait left"]
        assert await portal.run(name) == "outer"
        await portal.cancel_actor()


async def test_an_error_in_an_inner_nursery_ends_both() -> None:
    with pytest.raises(tractor.RemoteActorError, match="inside"):
        async with nursery() as outer:
            await outer.start_actor("outer")
            async with tractor.open_nursery() as inner:
                await inner.run_in_actor(fail, message="inside")


async def test_a_nursery_in_an_endpoint_ends_with_its_caller() -> None:
    async with nursery() as an:
        portal = await an.start_actor("middle", enable_modules=[ENDPOINTS])
        with trio.move_on_after(10):
            await portal.run(nested_wait)
        assert sorted(LOG) == ["grandchild0 left", "grandchild1 left"]
        assert await portal.run(name) == "middle"
        await portal.cancel_actor()


async def test_a_second_root_is_refused() -> None:
    async with nursery() as an:
        with pytest.raises(RuntimeError, match="already"):
            async with tractor.open_root_actor():
                pass
        with pytest.raises(RuntimeError, match="loglevel"):
            async with tractor.open_nursery(loglevel="info"):
                pass
        await an.cancel()


# -- what surrounds an actor's life -----------------------------------------------------------


@pytest.mark.parametrize("ending", ["cancel_actor", "nursery", "self", "block error", "kill"])
async def test_the_lifetime_stack_closes_however_an_actor_ends(ending: str) -> None:
    class BlockError(Exception):
        pass

    try:
        async with nursery() as an:
            tractor.current_actor().lifetime_stack.callback(LOG.append, "root closed")
            portal = await an.start_actor("daemon", enable_modules=[ENDPOINTS])
            await portal.run(close_at_the_end)
            if ending == "cancel_actor":
                await portal.cancel_actor()
            elif ending == "nursery":
                await an.cancel()
            elif ending == "self":
                with pytest.raises(tractor.ContextCancelled):
                    await portal.run(end_self_and_wait)
            elif ending == "kill":
                await an.cancel(hard_kill=True)
            else:
                raise BlockError
    except BlockError:
        pass
    assert LOG == ["daemon closed", "root closed"]


HOOKS = """
from tractor_core.seams import hookimpl
LOG = []
@hookimpl
def tractor_actor_starting(actor):
    LOG.append(f"{actor.name} starting")
@hookimpl
def tractor_actor_stopped(actor):
    LOG.append(f"{actor.name} stopped")
"""


async def test_hooks_tell_of_every_actor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hooks_of_the_nursery.py").write_text(HOOKS)
    information = tmp_path / "hooks_of_the_nursery-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: hooks-of-the-nursery\nVersion: 1\n")
    (information / "entry_points.txt").write_text("[tractor_core.plugins]\nhooks = hooks_of_the_nursery\n")
    monkeypatch.syspath_prepend(tmp_path)
    async with nursery() as an:
        await an.start_actor("daemon")
        await an.cancel()
    log = importlib.import_module("hooks_of_the_nursery").LOG
    assert log == ["root starting", "daemon starting", "daemon stopped", "root stopped"]


# -- clusters --------------------------------------------------------------------------------


async def test_a_cluster_has_portals_by_name() -> None:
    async with tractor.open_actor_cluster(
        [ENDPOINTS], count=3, registry_addrs=["mem://cluster"], start_method="inproc"
    ) as portals:
        assert list(portals) == ["root.worker_0", "root.worker_1", "root.worker_2"]
        for expected, portal in portals.items():
            assert await portal.run(name) == expected


async def test_a_cluster_with_names_given() -> None:
    options: dict[str, Any] = {"registry_addrs": ["mem://cluster"], "start_method": "inproc"}
    async with tractor.open_actor_cluster([ENDPOINTS], names=["a", "b"], **options) as portals:
        assert [await portal.run(name) for portal in portals.values()] == ["a", "b"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"names": ["a", "a"]}, "unique"),
        ({"names": ["a"], "count": 2}, "1 names were given for 2"),
        ({"count": 0}, "at least one"),
        ({"names": []}, "at least one"),
    ],
)
async def test_a_cluster_that_makes_no_sense(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        async with tractor.open_actor_cluster([ENDPOINTS], **arguments):
            pass


async def test_an_error_in_a_cluster_ends_it() -> None:
    with pytest.raises(tractor.RemoteActorError, match="oops"):
        async with tractor.open_actor_cluster(
            [ENDPOINTS], count=3, registry_addrs=["mem://cluster"], start_method="inproc", hard_kill=True
        ) as portals:
            await portals["root.worker_1"].run(fail, "oops")


async def test_a_cluster_one_of_which_cannot_start() -> None:
    with pytest.raises((tractor.RemoteActorError, ModuleNotFoundError), match="no_such_module"):
        async with tractor.open_actor_cluster(
            ["no_such_module"], count=1, registry_addrs=["mem://cluster"], start_method="inproc"
        ):
            pass
