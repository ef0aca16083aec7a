"""Programs whose actors are to be orphaned: ``python -m orphan_programs NAME METHOD [ARGUMENT]``.

Each prints a line of JSON when it stands as its test wants it. A name is that of a function below.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orphan_endpoints
import trio

import tractor_core as tractor
import tractor_forkserver.owner
import tractor_multiprocessing as _multiprocessing  # noqa: F401  (its module is found by name)
import tractor_subprocess as _subprocess  # noqa: F401  (its module is found by name)
from tractor_core.supervision.supervisor import Supervisor

MODULE = "orphan_endpoints"

REGISTRY = ["tcp://127.0.0.1:0"]


def say(**facts: Any) -> None:
    print(json.dumps(facts), flush=True)


async def pair(method: str) -> None:
    """A middle actor with a leaf."""
    async with tractor.open_nursery(registry_addrs=REGISTRY, start_method=method) as an:
        portal = await an.start_actor("middle", enable_modules=[MODULE])
        async with portal.open_context(orphan_endpoints.with_leaf) as (_, pids):
            say(pids=[os.getpid(), *pids])
            await trio.sleep_forever()


async def in_c(method: str) -> None:
    """An actor that computes in C."""
    async with tractor.open_nursery(registry_addrs=REGISTRY, start_method=method) as an:
        portal = await an.start_actor("computing", enable_modules=[MODULE])
        number = await portal.run(orphan_endpoints.pid)
        async with trio.open_nursery() as tasks:
            tasks.start_soon(portal.run, orphan_endpoints.compute)
            await trio.sleep(0.2)
            say(pids=[os.getpid(), number])


async def dies_spawning(method: str, moment: str) -> None:
    """Is killed in the middle of starting an actor."""
    say(pids=[os.getpid()])
    os.environ["ORPHANS_ROOT"] = str(os.getpid())
    MOMENTS[moment](method)
    async with tractor.open_nursery(registry_addrs=REGISTRY, start_method=method) as an:
        if moment != "template imports":
            # A template is there then: what is watched is the actor.
            await an.start_actor("first")
        Path(os.environ["ORPHANS_ARMED"]).touch()
        await an.start_actor("second", enable_modules=["orphan_slow_import"])


def die(*args: Any, **kwargs: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def _when_armed(function: Callable[..., Any]) -> Callable[..., Any]:
    """Die in place of the call, once the actor that is meant is being started."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if os.path.exists(os.environ["ORPHANS_ARMED"]):
            die()
        return function(*args, **kwargs)

    return wrapper


def _before_bootstrap(method: str) -> None:
    """The process is there and waits for what it is to be."""
    # The package has its backend under the module's name.
    where: Any = sys.modules[f"tractor_{method}.backend"]
    where.write_or_kill = _when_armed(where.write_or_kill)


def _after_bootstrap(method: str) -> None:
    """The process has all it needs, and nobody to dial."""
    spawn = Supervisor._spawn

    async def then_die(*args: Any) -> None:
        await spawn(*args)
        _when_armed(lambda: None)()

    Supervisor._spawn = then_die  # type: ignore[method-assign]


def _before_ready(method: str) -> None:
    """It has connected and imports what it is to expose; ``orphan_slow_import`` kills its parent."""


def _template_imports(method: str) -> None:
    """The template is being started."""
    owner = tractor_forkserver.owner
    start = owner._start

    def then_die(*args: Any) -> Any:
        start(*args)
        die()

    owner._start = then_die


MOMENTS = {
    "before bootstrap": _before_bootstrap,
    "after bootstrap": _after_bootstrap,
    "before ready": _before_ready,
    "template imports": _template_imports,
}


async def forks(method: str) -> None:
    """A parent that has a copy of itself, as a pool of processes makes them."""
    async with tractor.open_nursery(registry_addrs=REGISTRY, start_method=method) as an:
        portal = await an.start_actor("actor", enable_modules=[MODULE])
        number = await portal.run(orphan_endpoints.pid)
        copy = os.fork()
        if copy == 0:
            time.sleep(60)
            os._exit(0)
        say(pids=[os.getpid(), number, copy])
        await trio.sleep_forever()


async def daemonised(method: str) -> None:
    """As daemons do it: fork, a session of its own, fork again; the first two processes end."""
    await pair(method)


def daemonise() -> None:
    for step in (os.setsid, lambda: None):
        if os.fork():
            os._exit(0)
        step()


async def ladder(method: str) -> None:
    """Ends an actor that acknowledges and then blocks, and says how long that took."""
    async with tractor.open_nursery(registry_addrs=REGISTRY, start_method=method) as an:
        portal = await an.start_actor("middle", enable_modules=[MODULE])
        async with trio.open_nursery() as tasks:
            pids = await tasks.start(_hold, portal)
            began = time.monotonic()
            await an.cancel()
            took = time.monotonic() - began
            left = [number for number in pids if _alive(number)]
            tasks.cancel_scope.cancel()
    say(took=took, left=left)


def _alive(pid: int) -> bool:
    """Whether it can still do anything: init reaps orphans in its own time."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


async def _hold(portal: tractor.Portal, task_status: trio.TaskStatus[list[int]]) -> None:
    try:
        async with portal.open_context(orphan_endpoints.deaf_with_leaf) as (_, pids):
            task_status.started(pids)
            await trio.sleep_forever()
    except (tractor.TransportClosed, tractor.ContextCancelled, tractor.ActorTooSlowError):
        pass


async def init(method: str) -> None:
    """Process 1, as in a container: what its actor leaves is adopted, and must not stay as a zombie."""
    assert os.getpid() == 1
    own = os.fork()
    if own == 0:
        os._exit(7)
    async with tractor.open_nursery(registry_addrs=REGISTRY, start_method=method) as an:
        await an.start_actor("another")
        adopted: list[int] = []
        try:
            await _lose_middle(adopted)
        except tractor.ActorDied as error:
            say(status=str(error.exit_status))
        with trio.move_on_after(20):
            # Its own child waits to be reaped by it; the leaf has ended, and somebody has reaped it.
            while (ended := _ended()) != [own] or any(map(_is_there, adopted)):
                await trio.sleep(0.1)
        left = [number for number in {*ended, *adopted} if number != own and _is_there(number)]
        # A process of the program itself: its status is the program's alone.
        _, status = os.waitpid(own, 0)
        say(left=left, own=os.waitstatus_to_exitcode(status))
        await an.cancel()


async def _lose_middle(leaves: list[int]) -> None:
    """Kill an actor; ``leaves`` gets the one below it."""
    async with tractor.open_nursery() as an:
        portal = await an.start_actor("middle", enable_modules=[MODULE])
        async with portal.open_context(orphan_endpoints.with_leaf) as (_, (middle, leaf)):
            leaves.append(leaf)
            say(leaf=leaf)
            os.kill(middle, signal.SIGKILL)
            await trio.sleep_forever()


def _is_there(pid: int) -> bool:
    """Whether there is such a process, be it that nobody has reaped it."""
    return os.path.exists(f"/proc/{pid}")


def _ended() -> list[int]:
    """This process's children that have ended and were not reaped."""
    pids = map(int, Path("/proc/self/task/1/children").read_text().split())
    return [pid for pid in pids if _is_there(pid) and not _alive(pid)]


PROGRAMS = {
    program.__name__: program for program in (pair, in_c, forks, dies_spawning, daemonised, ladder, init)
}

if __name__ == "__main__":
    if sys.argv[1] == "daemonised":
        daemonise()
    trio.run(PROGRAMS[sys.argv[1]], *sys.argv[2:])
