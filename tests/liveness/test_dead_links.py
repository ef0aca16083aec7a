"""Peers that are killed or stopped, over every transport, as real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import liveness_endpoints as endpoints
import pytest
import trio
from everywhere import SCHEMES, SELF_EVIDENT, descriptors, options, settled, stranger

import tractor_core as tractor
from tractor_core.errors import ActorDied, TransportClosed
from tractor_core.supervision.process import is_halted, is_stopped

TRACE = [sys.executable, str(Path(__file__).with_name("tracer.py"))]

pytestmark = pytest.mark.usefixtures("encrypted")


class Pending:
    """A call and a stream that wait for a peer, and when and how each of them ended."""

    def __init__(self, portal: tractor.Portal) -> None:
        self.portal = portal
        self.ended: list[float] = []
        self.errors: list[TransportClosed] = []
        self._waiting = 2
        self.over = trio.Event()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._expect_end, self.portal.run(endpoints.hang))
            await nursery.start(self._stream)
            task_status.started()

    async def _stream(self, *, task_status: trio.TaskStatus[None]) -> None:
        async def listen() -> None:
            async with self.portal.open_context(endpoints.listen) as (context, _):
                async with context.open_stream() as stream:
                    task_status.started()
                    await stream.receive()

        await self._expect_end(listen())

    async def _expect_end(self, waiting: Any) -> None:
        with pytest.raises(TransportClosed) as caught:
            await waiting
        self.errors.append(caught.value)
        self.ended.append(trio.current_time())
        self._waiting -= 1
        if not self._waiting:
            self.over.set()

    def check(self, begun: float, seconds: float) -> None:
        assert len(self.ended) == 2
        assert max(self.ended) - begun <= seconds, self.portal
        assert not self.portal.chan.connected() and not self.portal.chan.dialogs


async def waiting_on(nursery: trio.Nursery, portals: dict[str, tractor.Portal]) -> dict[str, Pending]:
    pending = {scheme: Pending(portal) for scheme, portal in portals.items()}
    for each in pending.values():
        await nursery.start(each.run)
    return pending


async def dial_all(stack: AsyncExitStack, urls: dict[str, str], **kwargs: float) -> dict[str, tractor.Portal]:
    return {
        scheme: await stack.enter_async_context(tractor.open_portal(urls[scheme], **kwargs))  # type: ignore[arg-type]
        for scheme in SCHEMES
    }


def no_channel_is_left(actor: tractor.Actor) -> bool:
    return not any(channel.aid.name == "far" for peers in actor.peers.values() for channel in peers)


@pytest.mark.limit(60)
async def test_a_killed_stranger_is_noticed_within_a_second() -> None:
    async with stranger() as (process, urls), tractor.open_root_actor(**options()) as actor:
        before = descriptors()
        async with AsyncExitStack() as stack:
            portals = await dial_all(stack, urls)
            async with trio.open_nursery() as nursery:
                pending = await waiting_on(nursery, portals)
                begun = trio.current_time()
                process.kill()
            for each in pending.values():
                each.check(begun, 1.0)
            assert no_channel_is_left(actor)
        await settled(before)
        remove_files(urls)


@pytest.mark.limit(60)
async def test_a_stopped_stranger_is_noticed_where_it_shows_or_a_timeout_was_given() -> None:
    async with stranger() as (process, urls), tractor.open_root_actor(**options()) as actor:
        before = descriptors()
        async with AsyncExitStack() as stack:
            plain = await dial_all(stack, urls)
            watched = await dial_all(stack, urls, heartbeat_timeout=3)
            async with trio.open_nursery() as nursery:
                pending = await waiting_on(nursery, watched)
                patient = await waiting_on(nursery, plain)
                begun = trio.current_time()
                process.send_signal(signal.SIGSTOP)
                for scheme, each in [*pending.items(), *patient.items()]:
                    if each in pending.values() or scheme in SELF_EVIDENT:
                        await each.over.wait()
                        each.check(begun, 5.0)
                for scheme in SCHEMES:
                    if scheme not in SELF_EVIDENT:
                        assert "heartbeat_timeout" in str(pending[scheme].errors[0])
                        assert plain[scheme].chan.connected() and not patient[scheme].ended
                process.send_signal(signal.SIGCONT)
                # Whom nobody gave up is as it was.
                for scheme in set(SCHEMES) - set(SELF_EVIDENT):
                    assert await plain[scheme].run(endpoints.echo, 7) == 7
                process.kill()
            assert no_channel_is_left(actor)
        await settled(before)
        remove_files(urls)


@pytest.mark.limit(60)
@pytest.mark.parametrize(("number", "seconds"), [(signal.SIGKILL, 1.0), (signal.SIGSTOP, 5.0)])
async def test_a_child_that_is_killed_or_stopped(number: signal.Signals, seconds: float) -> None:
    """Each in a nursery of its own, whose block must end with the news."""
    async with tractor.open_root_actor(**options()):
        before = descriptors()
        everybody = Everybody(len(SCHEMES))
        async with trio.open_nursery() as tasks:
            for scheme in SCHEMES:
                tasks.start_soon(lose_child, scheme, number, seconds, everybody)
        await settled(before)


class Everybody:
    """Has each of so many tasks wait for the others: what is measured then is no part of a start."""

    def __init__(self, number: int) -> None:
        self._missing = number
        self._here = trio.Event()

    async def wait(self) -> None:
        self._missing -= 1
        if not self._missing:
            self._here.set()
        await self._here.wait()


async def lose_child(scheme: str, number: signal.Signals, seconds: float, everybody: Everybody) -> None:
    begun = 0.0
    pid = 0
    pending: Pending | None = None
    with pytest.raises(ActorDied) as caught:
        async with tractor.open_nursery() as nursery:
            portal = await nursery.start_actor(
                f"victim over {scheme}", enable_modules=[endpoints.__name__], enable_transports=[scheme]
            )
            pid = portal.chan.aid.pid
            async with trio.open_nursery() as waiting:
                pending = Pending(portal)
                await waiting.start(pending.run)
                await everybody.wait()
                begun = trio.current_time()
                os.kill(pid, number)
            pending.check(begun, seconds)
            await trio.sleep_forever()
    # One error for all: the owner and whoever called it.
    assert pending is not None
    assert str(caught.value) == str(pending.errors[0])
    wanted = "SIGKILL" if number is signal.SIGKILL else "has been stopped"
    assert wanted in str(caught.value)
    assert not os.path.exists(f"/proc/{pid}")
    assert trio.current_time() - begun <= seconds + 2


@pytest.mark.limit(60)
async def test_a_child_that_is_stopped_while_it_boots() -> None:
    """It has no channel yet: who starts it is told all the same."""
    async with tractor.open_root_actor(**options()):
        with trio.fail_after(15), pytest.raises(ActorDied, match="has been stopped"):
            async with tractor.open_nursery() as nursery:
                await nursery.start_actor("stillborn", enable_modules=["stops_at_import"])


@pytest.mark.limit(60)
def test_a_tree_that_is_suspended_as_a_whole_goes_on() -> None:
    """What a terminal does on Ctrl-Z and ``fg``: it stops the group of processes, and lets it go on."""
    program = Path(__file__).with_name("suspended_tree.py")
    with subprocess.Popen(
        [sys.executable, str(program)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as root:
        assert root.stdin is not None and root.stdout is not None
        try:
            assert root.stdout.readline() == "up\n"
            os.killpg(root.pid, signal.SIGSTOP)
            time.sleep(6)
            os.killpg(root.pid, signal.SIGCONT)
            root.stdin.write("\n")
            root.stdin.flush()
            assert root.stdout.readline() == "kept\n"
            assert root.wait(10) == 0
        finally:
            root.kill()


@pytest.mark.limit(60)
async def test_a_traced_child_is_not_dead() -> None:
    """What a debugger holds goes on when it lets go."""
    async with tractor.open_nursery(**options()) as nursery:
        portal = await nursery.start_actor("traced", enable_modules=[endpoints.__name__])
        tracer = subprocess.Popen([*TRACE, str(portal.chan.aid.pid), "5"], stdout=subprocess.PIPE)
        # Longer than a stopped one would be given.
        assert tracer.stdout is not None
        assert await trio.to_thread.run_sync(tracer.stdout.readline) == b"traced\n"
        assert is_stopped(portal.chan.aid.pid) and not is_halted(portal.chan.aid.pid)
        assert await portal.run(endpoints.echo, 1) == 1
        assert await trio.to_thread.run_sync(tracer.wait) == 0
        tracer.stdout.close()
        await nursery.cancel()


def remove_files(urls: dict[str, str]) -> None:
    """What a killed stranger could not."""
    for url in urls.values():
        path = url.partition("://")[2].partition("?")[0]
        if path.startswith("/"):
            os.unlink(path)
