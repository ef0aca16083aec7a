"""What a nursery promises, over trees of in-process actors in virtual time."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from nursery_trees import (
    ENDPOINTS,
    LOG,
    cancel_named,
    empty_log,  # noqa: F401  (a fixture)
    end_self,
    fail,
    fail_when_cancelled,
    name,
    nested_failure,
    nursery,
    slow_to_leave,
    wait,
)

import tractor_core as tractor
from tractor_core.errors import NoResult
from tractor_core.supervision.policy import TeardownPolicy

pytestmark = pytest.mark.usefixtures("autojump_clock", "empty_log")


# -- leaving the block -----------------------------------------------------------------------


async def test_the_block_waits_for_actors_that_run_once() -> None:
    async with nursery() as an:
        portal = await an.run_in_actor(wait, seconds=5, result=7)
        started = trio.current_time()
    assert trio.current_time() - started >= 5
    assert LOG == ["wait left"]
    assert await portal.wait_for_result() == 7


async def test_the_block_waits_for_daemons_until_they_are_cancelled() -> None:
    async with nursery() as an:
        portal = await an.start_actor("daemon", enable_modules=[ENDPOINTS])
        async with trio.open_nursery() as tasks:
            with trio.move_on_after(100) as scope:
                tasks.start_soon(portal.run, wait, 50)
                await trio.sleep_forever()
            assert scope.cancelled_caught
        assert await portal.cancel_actor()
    assert LOG == ["daemon left"]


async def test_a_result_can_be_asked_for_again_and_after_the_end() -> None:
    async with nursery() as an:
        portal = await an.run_in_actor(wait, seconds=1, result=[1, 2])
        assert await portal.wait_for_result() == [1, 2]
        assert await portal.wait_for_result() == [1, 2]
    assert await portal.wait_for_result() == [1, 2]
    with pytest.warns(DeprecationWarning, match="wait_for_result"):
        assert await portal.result() == [1, 2]


async def test_several_tasks_may_wait_for_one_result() -> None:
    results = []

    async def waiter(portal: tractor.Portal) -> None:
        results.append(await portal.wait_for_result())

    async with nursery() as an:
        portal = await an.run_in_actor(wait, seconds=1, result=3)
        async with trio.open_nursery() as tasks:
            for _ in range(3):
                tasks.start_soon(waiter, portal)
    assert results == [3, 3, 3]


async def test_a_daemon_has_no_result() -> None:
    async with nursery() as an:
        portal = await an.start_actor("daemon")
        with pytest.warns(UserWarning, match="daemon"):
            assert await portal.wait_for_result() is NoResult
        await an.cancel()


async def test_the_name_is_the_functions_unless_given() -> None:
    async with nursery() as an:
        first = await an.run_in_actor(name)
        second = await an.run_in_actor(name, name="other")
        assert await first.wait_for_result() == "name"
        assert await second.wait_for_result() == "other"
        assert first.chan.aid.name == "name"


@pytest.mark.parametrize("bad", ["", None, 3])
async def test_a_name_is_a_non_empty_string(bad: Any) -> None:
    async with nursery() as an:
        with pytest.raises(TypeError, match="name"):
            await an.start_actor(bad)


# -- errors ----------------------------------------------------------------------------------


async def test_an_undelivered_error_is_raised_bare_by_the_block() -> None:
    with pytest.raises(tractor.RemoteActorError) as caught:
        async with nursery() as an:
            await an.run_in_actor(fail, message="alone")
    assert caught.value.boxed_type is ValueError
    assert caught.value.src_uid is not None and caught.value.src_uid[0] == "fail"


async def test_a_delivered_error_belongs_to_the_caller() -> None:
    async with nursery() as an:
        portal = await an.run_in_actor(fail, message="mine", after=1)
        errors = []
        for _ in range(2):
            with pytest.raises(tractor.RemoteActorError, match="mine") as caught:
                await portal.wait_for_result()
            errors.append(caught.value)
    assert errors[0] is errors[1]


async def test_an_error_nobody_waited_long_enough_for_is_raised_by_the_block() -> None:
    with pytest.raises(tractor.RemoteActorError, match="late"):
        async with nursery() as an:
            portal = await an.run_in_actor(fail, message="late", after=5)
            with trio.move_on_after(1):
                await portal.wait_for_result()


async def test_an_error_that_comes_as_its_waiter_gives_up_is_raised_by_the_block() -> None:
    """In one tick, whichever of the two runs first."""
    for _ in range(8):
        with pytest.raises(tractor.RemoteActorError, match="crossed"):
            async with nursery() as an:
                portal = await an.run_in_actor(fail, message="crossed", after=5)
                (child,) = an._children.values()
                with trio.CancelScope() as scope:
                    assert child.main is not None
                    settle = child.main.settle

                    def settle_when_given_up(scope: trio.CancelScope = scope, settle: Any = settle) -> None:
                        scope.cancel()
                        settle()

                    child.main.settle = settle_when_given_up  # type: ignore[method-assign]
                    await portal.wait_for_result()


async def test_a_delivered_error_that_leaves_the_block_is_raised_once() -> None:
    with pytest.raises(tractor.RemoteActorError, match="once"):
        async with nursery() as an:
            portal = await an.run_in_actor(fail, message="once", after=1)
            await an.start_actor("other")
            await portal.wait_for_result()


async def test_an_error_in_the_block_cancels_all_and_is_raised_bare() -> None:
    error = ValueError("block")
    with pytest.raises(ValueError, match="block") as caught:
        async with nursery() as an:
            for index in range(3):
                await an.run_in_actor(wait, name=f"waiter{index}")
            portal = await an.start_actor("daemon", enable_modules=[ENDPOINTS])
            assert await portal.run(name) == "daemon"
            raise error
    assert caught.value is error
    assert sorted(LOG) == ["waiter0 left", "waiter1 left", "waiter2 left"]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
async def test_any_exception_of_the_block_passes(kind: type[BaseException]) -> None:
    with pytest.raises(kind):
        async with nursery() as an:
            await an.run_in_actor(wait)
            raise kind
    assert LOG == ["wait left"]


async def test_a_failing_actor_cancels_the_block_and_its_siblings() -> None:
    with pytest.raises(tractor.RemoteActorError, match="first"):
        async with nursery() as an:
            await an.run_in_actor(wait)
            await an.run_in_actor(fail, message="first", after=1)
            try:
                await trio.sleep_forever()
            finally:
                LOG.append("block left")
    assert LOG[0] == "block left"
    assert LOG[1:] == ["wait left"]


async def test_several_errors_are_a_group_without_duplicates() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with nursery() as an:
            await an.run_in_actor(fail_when_cancelled, name="one", message="one")
            await an.run_in_actor(fail_when_cancelled, name="two", message="two")
            raise ValueError("block")
    messages = sorted(getattr(error, "message", str(error)) for error in caught.value.exceptions)
    assert messages == ["block", "one", "two"]


async def test_many_actors_failing_at_once() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with nursery() as an:
            for index in range(25):
                await an.run_in_actor(fail, name=f"actor{index}", message=str(index), after=1000)
    errors = caught.value.exceptions
    assert all(isinstance(error, tractor.RemoteActorError) for error in errors)
    assert len({error.message for error in errors}) == len(errors)


async def test_a_failure_deep_down_arrives_bare_with_its_path() -> None:
    with pytest.raises(tractor.RemoteActorError) as caught:
        async with nursery() as an:
            await an.run_in_actor(nested_failure, name="level3", depth=2)
    error = caught.value
    assert error.src_type is KeyError
    assert error.boxed_type is tractor.RemoteActorError
    assert [uid[0] for uid in error.relay_path] == ["level1", "level2", "level3"]
    assert isinstance(error.unwrap(), KeyError)


# -- cancelling ------------------------------------------------------------------------------


@pytest.mark.parametrize("hard_kill", [False, True])
async def test_cancel_ends_the_actors_and_not_the_block(hard_kill: bool) -> None:
    async with nursery() as an:
        await an.start_actor("daemon")
        portal = await an.run_in_actor(wait)
        assert not an.cancel_called
        await an.cancel(hard_kill=hard_kill)
        assert an.cancel_called and an.cancelled_caught
        with pytest.warns(DeprecationWarning, match="cancel_called"):
            assert an.cancelled
        with pytest.raises((tractor.ContextCancelled, tractor.TransportClosed)):
            await portal.wait_for_result()
        LOG.append("block goes on")
    assert LOG == ["wait left", "block goes on"]


async def test_cancel_may_be_called_again_and_with_nobody_there() -> None:
    async with nursery() as an:
        await an.cancel()
        await an.cancel()
        assert an.cancelled_caught


async def test_no_actor_starts_after_cancel() -> None:
    async with nursery() as an:
        await an.cancel()
        with pytest.raises(RuntimeError, match="cancelled"):
            await an.start_actor("late")


async def test_no_actor_starts_after_the_block() -> None:
    async with nursery() as an:
        pass
    with pytest.raises(RuntimeError, match="left"):
        await an.start_actor("late")


async def test_a_deadline_around_the_nursery() -> None:
    with trio.move_on_after(10) as scope:
        async with nursery() as an:
            await an.run_in_actor(wait)
            await an.start_actor("daemon")
    assert scope.cancelled_caught
    assert LOG == ["wait left"]


async def test_cancelling_waits_until_actors_have_left() -> None:
    async with nursery() as an:
        await an.run_in_actor(slow_to_leave, seconds=2)
        await trio.testing.wait_all_tasks_blocked()
        await an.cancel()
        assert LOG == ["left slowly"]


async def test_an_actor_that_ends_itself_is_no_error() -> None:
    async with nursery() as an:
        portal = await an.start_actor("daemon", enable_modules=[ENDPOINTS])
        other = await an.start_actor("other", enable_modules=[ENDPOINTS])
        try:
            await portal.run(end_self)
        except tractor.ContextCancelled as error:
            assert error.canceller == portal.chan.aid.uid
        await portal.chan.wait_closed()
        assert await other.run(name) == "other"
        await other.cancel_actor()


async def test_an_actor_may_be_cancelled_by_its_sibling() -> None:
    async with nursery() as an:
        victim = await an.start_actor("victim", enable_modules=[ENDPOINTS])
        sibling = await an.start_actor("sibling", enable_modules=[ENDPOINTS])
        assert await sibling.run(cancel_named, target="victim")
        await victim.chan.wait_closed()
        assert await sibling.run(name) == "sibling"
        await an.cancel()


async def test_a_task_of_an_actor_cancelled_by_its_sibling_says_so() -> None:
    async with nursery() as an:
        victim = await an.start_actor("victim", enable_modules=[ENDPOINTS])
        sibling = await an.start_actor("sibling", enable_modules=[ENDPOINTS])

        async def kill_later() -> None:
            await trio.sleep(1)
            await sibling.run(cancel_named, target="victim")

        async with trio.open_nursery() as tasks:
            tasks.start_soon(kill_later)
            with pytest.raises(tractor.ContextCancelled) as caught:
                await victim.run(wait)
        assert caught.value.canceller == sibling.chan.aid.uid
        await an.cancel()


async def test_cancel_actor_ends_the_portals_calls_quietly() -> None:
    async with nursery() as an:
        portal = await an.run_in_actor(wait)
        await trio.testing.wait_all_tasks_blocked()
        assert await portal.cancel_actor()
    assert LOG == ["wait left"]


async def test_a_failure_after_cancel_is_still_raised() -> None:
    with pytest.raises(tractor.RemoteActorError, match="on the way out"):
        async with nursery() as an:
            await an.run_in_actor(fail_when_cancelled, message="on the way out")
            await trio.testing.wait_all_tasks_blocked()
            await an.cancel()


async def test_force_used_after_an_error_adds_no_error() -> None:
    policy = TeardownPolicy(ack=0.5, graceful=1, terminate=1)
    with pytest.raises(ValueError, match="block"):
        async with nursery(policy=policy) as an:
            await an.run_in_actor(slow_to_leave, seconds=50)
            await trio.testing.wait_all_tasks_blocked()
            raise ValueError("block")


async def test_an_actor_whose_connection_breaks_is_missed() -> None:
    with pytest.raises(tractor.ActorDied, match="connection broke"):
        async with nursery() as an:
            portal = await an.start_actor("remote")
            portal.chan.connection.abort()


async def test_a_broken_connection_is_one_error() -> None:
    with pytest.raises(tractor.TransportClosed):
        async with nursery() as an:
            portal = await an.start_actor("remote", enable_modules=[ENDPOINTS])
            async with trio.open_nursery() as tasks:
                for _ in range(3):
                    tasks.start_soon(portal.run, wait)
                await trio.testing.wait_all_tasks_blocked()
                portal.chan.connection.abort()


async def test_an_actor_ends_with_the_portal_that_its_owner_closes() -> None:
    async with nursery() as an:
        portal = await an.start_actor("daemon", enable_modules=[ENDPOINTS])
        await portal.aclose()
    assert not an._children


async def test_actors_may_be_started_while_the_nursery_waits_for_others() -> None:
    async with trio.open_nursery() as tasks:

        async def start_later(an: tractor.ActorNursery) -> None:
            await trio.sleep(5)
            portal = await an.run_in_actor(name, name="later")
            LOG.append(await portal.wait_for_result())

        async with nursery() as an:
            await an.run_in_actor(wait, seconds=10)
            tasks.start_soon(start_later, an)
    assert LOG == ["later", "wait left"]
