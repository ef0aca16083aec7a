"""What a nursery promises, over real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from family import actors
from programs import endpoints

import tractor_core as tractor
from tractor_core.errors import PluginError

EXPOSED = [endpoints.MODULE]
PROGRAMS = Path(__file__).parent / "programs"


@asynccontextmanager
async def nursery(registry: str, **options: Any) -> AsyncIterator[tractor.ActorNursery]:
    async with tractor.open_nursery(registry_addrs=[registry], **options) as an:
        yield an


async def test_results_and_the_order_of_leaving(registry: str) -> None:
    async with nursery(registry) as an:
        once = await an.run_in_actor(endpoints.whoami)
        daemon = await an.start_actor("daemon", enable_modules=EXPOSED)
        name, pid = await once.wait_for_result()
        assert (name, pid != os.getpid()) == ("whoami", True)
        assert await once.wait_for_result() == (name, pid)
        assert (await daemon.run(endpoints.whoami))[0] == "daemon"
        assert await daemon.cancel_actor()
    assert await once.wait_for_result() == (name, pid)


async def test_an_error_of_an_actor_ends_its_siblings(registry: str, tmp_path: Path) -> None:
    left = tmp_path / "left"
    with pytest.raises(tractor.RemoteActorError) as caught:
        async with nursery(registry) as an:
            portal = await an.start_actor("waiting", enable_modules=EXPOSED)
            await portal.run(endpoints.touch_at_the_end, path=str(left))
            await an.run_in_actor(endpoints.fail, message="alone")
    assert caught.value.boxed_type is ValueError
    assert left.exists()


async def test_several_actors_failing_at_once(registry: str) -> None:
    with pytest.raises((ExceptionGroup, tractor.RemoteActorError)) as caught:
        async with nursery(registry) as an:
            async with trio.open_nursery() as tasks:
                for index in range(8):
                    tasks.start_soon(run_failing, an, index)
    error = caught.value
    errors = list(error.exceptions) if isinstance(error, ExceptionGroup) else [error]
    assert all(isinstance(error, tractor.RemoteActorError) for error in errors)
    assert len({str(error) for error in errors}) == len(errors)


async def run_failing(an: tractor.ActorNursery, index: int) -> None:
    await an.run_in_actor(endpoints.fail, name=f"actor{index}", message=str(index), after=1)


async def test_a_failure_deep_down_arrives_bare_with_its_path(registry: str) -> None:
    with pytest.raises(tractor.RemoteActorError) as caught:
        async with nursery(registry) as an:
            await an.run_in_actor(endpoints.nested_failure, name="level3", depth=2)
    assert caught.value.src_type is KeyError
    assert [uid[0] for uid in caught.value.relay_path] == ["level1", "level2", "level3"]


# -- deaths ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "argument", "status"),
    [
        (endpoints.exit_with, 3, "exit code 3"),
        (endpoints.die_by, signal.SIGKILL, "SIGKILL"),
        (endpoints.die_by, signal.SIGSEGV, "SIGSEGV"),
        (endpoints.die_by, signal.SIGTERM, "SIGTERM"),
    ],
)
@pytest.mark.parametrize("pending", [True, False])
async def test_an_unasked_end_is_one_error(
    function: Any, argument: int, status: str, pending: bool, one_registry: str
) -> None:
    seen: list[BaseException] = []
    with pytest.raises(tractor.ActorDied, match=status) as caught:
        async with nursery(one_registry) as an:
            portal = await an.start_actor("mortal", enable_modules=EXPOSED)
            other = await an.start_actor("other", enable_modules=EXPOSED)
            if pending:
                await call_and_note(portal, function, int(argument), seen)
            else:
                async with trio.open_nursery() as tasks:
                    tasks.start_soon(call_and_ignore, portal, function, int(argument))
                    await other.run(endpoints.forever)
    error = caught.value
    assert "mortal" in str(error)
    assert error.uid == portal.chan.aid.uid
    assert not seen or seen == [error]


async def call_and_note(portal: Any, function: Any, argument: int, seen: list[BaseException]) -> None:
    try:
        await portal.run(function, argument)
    except tractor.TransportClosed as error:
        seen.append(error)
        raise


async def call_and_ignore(portal: Any, function: Any, argument: int) -> None:
    try:
        await portal.run(function, argument)
    except tractor.TransportClosed:
        pass


async def test_the_death_of_a_run_once_actor(registry: str) -> None:
    with pytest.raises(tractor.ActorDied, match="exit code 3"):
        async with nursery(registry) as an:
            await an.run_in_actor(endpoints.exit_with, code=3)


async def test_an_actor_that_ends_itself_is_no_error(registry: str) -> None:
    async with nursery(registry) as an:
        portal = await an.start_actor("daemon", enable_modules=EXPOSED)
        other = await an.start_actor("other", enable_modules=EXPOSED)
        await portal.run(endpoints.end_self)
        await portal.chan.wait_closed()
        assert (await other.run(endpoints.whoami))[0] == "other"
        await other.cancel_actor()


async def test_an_actor_may_be_cancelled_by_its_sibling(registry: str) -> None:
    async with nursery(registry) as an:
        victim = await an.start_actor("victim", enable_modules=EXPOSED)
        sibling = await an.start_actor("sibling", enable_modules=EXPOSED)
        assert await sibling.run(endpoints.cancel_named, target="victim")
        await victim.chan.wait_closed()
        assert (await sibling.run(endpoints.whoami))[0] == "sibling"
        await an.cancel()


# -- starting --------------------------------------------------------------------------------


async def test_a_start_that_fails_leaves_the_others_alone(registry: str) -> None:
    async with nursery(registry) as an:
        other = await an.start_actor("other", enable_modules=EXPOSED)
        with pytest.raises((tractor.RemoteActorError, ModuleNotFoundError), match="no_such_module"):
            await an.start_actor("broken", enable_modules=["no_such_module"])
        with pytest.raises(tractor.ActorDied, match=r"'doomed'.*exit code 7"):
            await an.start_actor("doomed", enable_modules=["programs.dies_at_import"])
        with pytest.raises(PluginError, match="subprocess"):
            await an.start_actor("bird", start_method="carrier-pigeon")
        with pytest.raises(ValueError, match="no options|has the option"):
            await an.start_actor("coloured", spawn_options={"colour": "red"})
        with pytest.raises(OSError, match="nowhere"):
            await an.start_actor("lost", proc_kwargs={"cwd": "/nowhere/at/all"})
        assert (await other.run(endpoints.whoami))[0] == "other"
        await an.cancel()
        with pytest.raises(RuntimeError, match="cancelled"):
            await an.start_actor("late")


@pytest.mark.parametrize("delay", [0.0, 0.01, 0.06, 0.12])
async def test_cancelled_while_starting_leaves_nothing(delay: float, one_registry: str) -> None:
    async with nursery(one_registry) as an:
        with trio.move_on_after(delay) as scope:
            await an.start_actor("victim")
        assert not scope.cancelled_caught or actors() == []
        await an.cancel()
        assert actors() == []


@pytest.mark.parametrize("delay", [0.0, 0.03, 0.1])
async def test_cancel_while_another_task_starts_an_actor(delay: float, one_registry: str) -> None:
    async with nursery(one_registry) as an:
        outcomes: list[object] = []

        async def starter() -> None:
            try:
                outcomes.append(await an.start_actor("starting"))
            except RuntimeError as error:
                outcomes.append(error)

        async with trio.open_nursery() as tasks:
            tasks.start_soon(starter)
            await trio.sleep(delay)
            started = bool(outcomes)
            await an.cancel()
            assert actors() == []
        # Who was quicker than the delay was not starting any more, and ended like others.
        (outcome,) = outcomes
        assert started or (isinstance(outcome, RuntimeError) and "cancelled" in str(outcome))


async def test_what_a_child_is_told(registry: str, tmp_path: Path) -> None:
    async with nursery(registry, loglevel="warning") as an:
        process = {"env": {**os.environ, "COLOUR": "red"}, "cwd": tmp_path}
        portal = await an.start_actor("told", enable_modules=EXPOSED, proc_kwargs=process)
        assert await portal.run(endpoints.environment, "COLOUR") == ("red", str(tmp_path))
        assert await portal.run(endpoints.loglevel) == "warning"
        louder = await an.start_actor("louder", enable_modules=EXPOSED, loglevel="error")
        assert await louder.run(endpoints.loglevel) == "error"
        await an.cancel()


# -- programs --------------------------------------------------------------------------------


async def test_a_keyboard_interrupt_in_the_block_ends_the_tree(registry: str, tmp_path: Path) -> None:
    left = tmp_path / "left"
    with pytest.raises(KeyboardInterrupt):
        async with nursery(registry) as an:
            portal = await an.start_actor("daemon", enable_modules=EXPOSED)
            await portal.run(endpoints.touch_at_the_end, path=str(left))
            raise KeyboardInterrupt
    assert left.exists()


def test_a_script_without_a_guard_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "unguarded.py"
    script.write_text(
        "import trio, tractor_core as tractor\n"
        "async def work(): return 1\n"
        "async def main():\n"
        "    async with tractor.open_nursery(enable_transports=['uds']) as an:\n"
        "        portal = await an.run_in_actor(work)\n"
        "        print(await portal.wait_for_result())\n"
        "trio.run(main)\n"
    )
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 1
    assert 'if __name__ == "__main__":' in done.stderr
    assert "work" in done.stderr or "RuntimeError" in done.stderr
