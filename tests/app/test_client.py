"""``open_portal``: an actor called by its address, with and without a runtime of one's own."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from other_roots import other_root

import tractor_core as tractor
from tractor_core.errors import AuthenticationFailed
from tractor_core.testing.mem import MemNetwork

HERE = "mem://registry"
KEY = "a key of this tree alone"


async def whoami() -> str:
    return tractor.current_actor().name


async def who_calls() -> list[str]:
    return sorted(channel.aid.name for peers in tractor.current_actor().peers.values() for channel in peers)


async def call_back(name: str) -> str:
    """Call whoever is connected under that name."""
    actor = tractor.current_actor()
    [channel] = [c for peers in actor.peers.values() for c in peers if c.aid.name == name]
    return await tractor.Portal(actor, channel).run(whoami)


async def end_caller(name: str) -> bool:
    actor = tractor.current_actor()
    [channel] = [c for peers in actor.peers.values() for c in peers if c.aid.name == name]
    return await tractor.Portal(actor, channel).cancel_actor()


@tractor.context
async def echo(ctx: tractor.Context, start: int) -> str:
    await ctx.started(start)
    async with ctx.open_stream() as stream:
        async for value in stream:
            await stream.send(value * 2)
    return "end"


async def count(n: int):  # type: ignore[no-untyped-def]
    for value in range(n):
        yield value


async def test_a_light_client_does_all_that_a_caller_can(autojump_clock: trio.testing.MockClock) -> None:
    async with other_root(registry_addrs=[HERE], enable_modules=[__name__]) as root:
        async with tractor.open_portal(HERE, name="light") as portal:
            assert await portal.run(whoami) == "root"
            assert await portal.run(who_calls) == ["light"]
            async with portal.open_context(echo, start=3) as (ctx, first):
                assert first == 3
                async with ctx.open_stream() as stream:
                    await stream.send(21)
                    assert await stream.receive() == 42
            assert await ctx.wait_for_result() == "end"
            async with portal.open_stream_from(count, n=3) as stream:
                assert [value async for value in stream] == [0, 1, 2]
            status = await portal.run_from_ns("self", "status")
            assert status["name"] == "root" and status["channels"] == 1
            with pytest.raises(tractor.ModuleNotExposed):
                await portal.run_from_ns("os", "getpid")
        await trio.testing.wait_all_tasks_blocked()
        assert not root.actor.peers
        assert not MemNetwork.current().connections
    assert tractor.current_actor(err_on_no_runtime=False) is None


async def test_a_light_client_is_no_runtime(autojump_clock: trio.testing.MockClock) -> None:
    async with other_root(registry_addrs=[HERE], enable_modules=[__name__]):
        async with tractor.open_portal(HERE):
            # Not the client; what is found for want of one is the only actor of this process.
            assert tractor.current_actor().name == "root"
            async with tractor.open_root_actor(name="mine", registry_addrs=["mem://mine"]):
                assert tractor.current_actor().name == "mine"


async def test_a_light_client_is_not_called_and_not_ended(autojump_clock: trio.testing.MockClock) -> None:
    async with other_root(registry_addrs=[HERE], enable_modules=[__name__]):
        async with tractor.open_portal(HERE, name="light") as portal:
            with pytest.raises(tractor.RemoteActorError) as caught:
                await portal.run(call_back, name="light")
            assert "ModuleNotExposed" in caught.value.src_type_str
            assert await portal.run(end_caller, name="light") is False
            assert await portal.run(whoami) == "root"


async def test_several_light_clients_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with other_root(registry_addrs=[HERE], enable_modules=[__name__]) as root:
        async with tractor.open_portal(HERE, name="a") as a, tractor.open_portal(HERE, name="b") as b:
            assert await a.run(who_calls) == await b.run(who_calls) == ["a", "b"]

            async def one() -> None:
                async with tractor.open_portal(HERE) as portal:
                    assert await portal.run(whoami) == "root"

            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(one)
            await trio.testing.wait_all_tasks_blocked()
            assert await a.run(who_calls) == ["a", "b"]
        await trio.testing.wait_all_tasks_blocked()
        assert not root.actor.peers


async def test_from_inside_an_actor_it_is_that_actor_who_calls(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with other_root(registry_addrs=[HERE], enable_modules=[__name__]):
        async with tractor.open_root_actor(
            name="caller", registry_addrs=["mem://own"], enable_modules=[__name__]
        ):
            async with tractor.open_portal(HERE) as portal:
                assert await portal.run(who_calls) == ["caller"]
                # And so it can be called back.
                assert await portal.run(call_back, name="caller") == "caller"
            assert tractor.current_actor().name == "caller"


async def test_another_trees_key_from_inside_an_actor(autojump_clock: trio.testing.MockClock) -> None:
    async with other_root(registry_addrs=[HERE], auth_key=KEY, enable_modules=[__name__]):
        async with (
            tractor.open_root_actor(name="caller", registry_addrs=["mem://own"], start_method="inproc"),
            tractor.open_nursery() as nursery,
        ):
            with pytest.raises(AuthenticationFailed, match=f"{HERE} refused this actor"):
                async with tractor.open_portal(HERE):
                    pass
            async with tractor.open_portal(HERE, auth_key=KEY, name="light") as portal:
                assert await portal.run(who_calls) == ["light"]
                # The block is still the actor's own.
                assert tractor.current_actor().name == "caller"
                await nursery.start_actor("child")
            await nursery.cancel()


@pytest.mark.parametrize("key", [None, "quite another key than that"])
async def test_a_wrong_key(autojump_clock: trio.testing.MockClock, key: str | None) -> None:
    async with other_root(registry_addrs=[HERE], auth_key=KEY, enable_modules=[__name__]) as root:
        with pytest.raises(AuthenticationFailed, match=f"{HERE} refused this actor"):
            async with tractor.open_portal(HERE, auth_key=key):
                pytest.fail("it is in")
        assert not root.actor.peers


async def test_a_client_that_demands_a_key_does_not_take_the_kernels_word(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with other_root(registry_addrs=[HERE], enable_modules=[__name__]):
        with pytest.raises(AuthenticationFailed):
            async with tractor.open_portal(HERE, auth_key=KEY):
                pytest.fail("it is in")


async def test_nobody_there(autojump_clock: trio.testing.MockClock) -> None:
    with pytest.raises(ConnectionRefusedError, match="mem://nobody"):
        async with tractor.open_portal("mem://nobody"):
            pass


async def test_a_token_and_a_key_are_one_too_many(autojump_clock: trio.testing.MockClock) -> None:
    with pytest.raises(ValueError, match="not by both"):
        async with tractor.open_portal(HERE, token="a token of a client", auth_key=KEY):
            pass


async def test_errors_and_cancellation_in_the_block_pass_bare(autojump_clock: trio.testing.MockClock) -> None:
    async with other_root(registry_addrs=[HERE], enable_modules=[__name__]):
        with pytest.raises(KeyError, match="mine") as caught:
            async with tractor.open_portal(HERE):
                raise KeyError("mine") from ValueError("its cause")
        assert isinstance(caught.value.__cause__, ValueError)
        with trio.move_on_after(1) as scope:
            async with tractor.open_portal(HERE):
                await trio.sleep_forever()
        assert scope.cancelled_caught


async def test_the_peer_going_away_ends_the_calls(autojump_clock: trio.testing.MockClock) -> None:
    async with other_root(registry_addrs=[HERE], enable_modules=[__name__]) as root:
        async with tractor.open_portal(HERE) as portal:
            await root.close()
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(tractor.TransportClosed):
                await portal.run(whoami)


async def test_an_error_keeps_its_cause_and_context_through_a_runtime(
    autojump_clock: trio.testing.MockClock,
) -> None:
    with pytest.raises(KeyError) as caught:
        async with tractor.open_nursery(registry_addrs=[HERE]):
            try:
                raise ValueError("first")
            except ValueError:
                raise KeyError("second")  # noqa: B904
    assert isinstance(caught.value.__context__, ValueError)
    with pytest.raises(KeyError) as caught:
        async with tractor.open_nursery(registry_addrs=[HERE]):
            raise KeyError("second") from ValueError("first")
    assert isinstance(caught.value.__cause__, ValueError)
