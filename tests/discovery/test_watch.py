"""``watch_actors``: registrations as they come and go."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from other_roots import other_root

import tractor_core as tractor
from tractor_core.discovery import registrar as registrar_module
from tractor_core.discovery.link import RegistryLink
from tractor_core.errors import RemoteActorError, TransportClosed

HERE = "mem://registry"

#: A watcher in the registrar asks the registry directly, one elsewhere over the wire.
WHERE = pytest.mark.parametrize("remote", [False, True])


async def watching(remote: bool) -> None:
    """Everything that can be seen of names that begin with "a"."""
    async with other_root(registry_addrs=[HERE], name="registry") as registry:
        async with (
            other_root(registry_addrs=[HERE], name="alpha") as alpha,
            other_root(registry_addrs=[HERE], name="beta") as beta,
        ):

            async def look() -> None:
                async with tractor.watch_actors("a") as changes:
                    assert await anext(changes) == ("registered", "alpha", _urls(alpha.actor))
                    async with other_root(registry_addrs=[HERE], name="b-comes-and-goes"):
                        pass
                    async with other_root(registry_addrs=[HERE], name="a-comes-and-goes") as other:
                        urls = _urls(other.actor)
                        assert await anext(changes) == ("registered", "a-comes-and-goes", urls)
                    assert await anext(changes) == ("unregistered", "a-comes-and-goes", urls)
                    with trio.move_on_after(60) as scope:
                        await anext(changes)
                    assert scope.cancelled_caught

            await (beta if remote else registry).run(look)
            await trio.testing.wait_all_tasks_blocked()
            local = registry.actor.room(RegistryLink).local
            assert local is not None and not local._watchers


def _urls(actor: tractor.Actor) -> list[str]:
    return [address.url for address in actor.accept_addrs]


@WHERE
async def test_what_is_there_comes_first_and_then_what_changes(
    autojump_clock: trio.testing.MockClock, remote: bool
) -> None:
    await watching(remote)


@WHERE
async def test_a_watcher_is_cancelled_or_fails_half_way(
    autojump_clock: trio.testing.MockClock, remote: bool
) -> None:
    async def cancelled() -> None:
        with trio.move_on_after(1) as scope:
            async with tractor.watch_actors() as changes:
                async for _ in changes:
                    pass
        assert scope.cancelled_caught

    async def failing() -> None:
        async with tractor.watch_actors() as changes:
            async for _ in changes:
                raise KeyError("mine")

    async def leaving() -> None:
        async with tractor.watch_actors() as changes:
            async for _ in changes:
                break

    async with other_root(registry_addrs=[HERE]) as registry:
        async with other_root(registry_addrs=[HERE], name="elsewhere") as elsewhere:
            watcher = elsewhere if remote else registry
            await watcher.run(cancelled)
            with pytest.raises(KeyError, match="mine"):
                await watcher.run(failing)
            await watcher.run(leaving)
            await trio.testing.wait_all_tasks_blocked()
            local = registry.actor.room(RegistryLink).local
            assert local is not None and not local._watchers


@WHERE
async def test_a_watcher_that_hangs_costs_nobody_else_anything(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, remote: bool
) -> None:
    monkeypatch.setattr(registrar_module, "WATCH_BACKLOG", 100)
    rounds = 400  # more than a stream's window and the backlog hold

    async def hang() -> None:
        seen = 0
        with pytest.raises((trio.TooSlowError, RemoteActorError), match="events behind") as caught:
            async with tractor.watch_actors("x") as changes:
                assert await anext(changes)
                hanging.set()
                await enough.wait()
                async for _ in changes:
                    seen += 1
        assert 100 <= seen < rounds
        error = caught.value
        assert isinstance(error, trio.TooSlowError) or error.src_type is trio.TooSlowError

    hanging, enough = trio.Event(), trio.Event()
    async with other_root(registry_addrs=[HERE]) as registry:
        async with (
            other_root(registry_addrs=[HERE], name="elsewhere") as elsewhere,
            other_root(registry_addrs=[HERE], name="x") as restless,
        ):

            async def change() -> None:
                await hanging.wait()
                link = restless.actor.room(RegistryLink)
                for _ in range(rounds):
                    await link.register()
                # The registry itself answers as ever.
                assert len(await link.find("x")) == 1
                enough.set()

            async with trio.open_nursery() as tasks:
                tasks.start_soon((elsewhere if remote else registry).run, hang)
                tasks.start_soon(change)


async def test_a_watcher_learns_that_the_registrar_is_gone(autojump_clock: trio.testing.MockClock) -> None:
    async def watch() -> None:
        async with tractor.watch_actors() as changes:
            began.set()
            async for _ in changes:
                pass

    began = trio.Event()
    async with other_root(registry_addrs=[HERE]) as registry:
        async with other_root(registry_addrs=[HERE], name="elsewhere") as elsewhere:
            async with trio.open_nursery() as tasks:

                async def expect_end() -> None:
                    with pytest.raises((TransportClosed, tractor.ContextCancelled)):
                        await elsewhere.run(watch)

                tasks.start_soon(expect_end)
                await began.wait()
                await registry.close()
