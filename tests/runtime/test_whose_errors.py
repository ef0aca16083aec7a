"""What a peer's runtime says is raised as the class it is; what its user's code raises never is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import raising_endpoints as endpoints
import trio
import trio.testing

import tractor_core as tractor
from tractor_core import errors
from tractor_core.errors import RemoteActorError

ROOT = "mem://whose-errors"

KINDS = ["ContextCancelled", "MsgTypeError", "StreamOverrun", "ModuleNotExposed", "AuthenticationFailed"]


@asynccontextmanager
async def worker() -> AsyncIterator[tractor.Portal]:
    """An actor beside the root, which serves the same functions."""
    async with tractor.open_nursery(
        registry_addrs=[ROOT], start_method="inproc", enable_modules=["raising_endpoints"]
    ) as nursery:
        yield await nursery.start_actor("worker", enable_modules=["raising_endpoints"])
        await nursery.cancel()


def assert_user_code_raised(error: object, kind: str, portal: tractor.Portal) -> None:
    assert type(error) is RemoteActorError
    assert error.src_type is error.boxed_type is getattr(errors, kind)
    assert error.relay_path == (portal.chan.aid.uid,)
    assert type(error.unwrap()) is getattr(errors, kind)


@pytest.mark.parametrize("kind", KINDS)
async def test_what_a_function_raises_by_hand(autojump_clock: trio.testing.MockClock, kind: str) -> None:
    async with worker() as portal:
        with pytest.raises(RemoteActorError, match="by hand") as caught:
            await portal.run(endpoints.raises, kind=kind, root=tractor.current_actor().uid)
        assert_user_code_raised(caught.value, kind, portal)
        with pytest.raises(RemoteActorError, match="by hand") as caught:
            async with portal.open_context(
                endpoints.raises_within, kind=kind, root=tractor.current_actor().uid
            ) as (context, _):
                await context.wait_for_result()
        assert_user_code_raised(caught.value, kind, portal)
        assert not context.cancelled_caught


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (endpoints.is_refused, "AuthenticationFailed"),
        (endpoints.expects_text, "MsgTypeError"),
        (endpoints.reads_text, "MsgTypeError"),
    ],
)
async def test_what_a_function_is_told_elsewhere(
    autojump_clock: trio.testing.MockClock, function: Callable[[str], Any], kind: str
) -> None:
    async with worker() as portal:
        with pytest.raises(RemoteActorError) as caught:
            await portal.run(function, address=ROOT)
        assert_user_code_raised(caught.value, kind, portal)


async def test_what_the_runtime_says_of_a_call(autojump_clock: trio.testing.MockClock) -> None:
    async with worker() as portal:
        with pytest.raises(tractor.ModuleNotExposed, match="raising_endpoints"):
            await portal.run_from_ns("raising_endpoints", "nothing")
        with pytest.raises(tractor.MsgTypeError, match="argument 'address'"):
            await portal.run_from_ns("raising_endpoints", "is_refused", address=5)
        with pytest.raises(tractor.MsgTypeError, match="result of .*wrong_result"):
            await portal.run(endpoints.wrong_result)


async def test_what_the_runtime_says_of_a_context(autojump_clock: trio.testing.MockClock) -> None:
    async with worker() as portal:
        with pytest.raises(tractor.MsgTypeError, match="got `str`") as caught:
            async with portal.open_context(endpoints.starts_with_text):
                pass
        assert caught.value.relay_path == (portal.chan.aid.uid,)
        with pytest.raises(tractor.MsgTypeError, match="got `str`") as caught:
            async with portal.open_context(endpoints.insists) as (context, _):
                async with context.open_stream() as stream:
                    await stream.send("text")
                    await stream.send("more text")
                    await context.wait_for_result()
        assert caught.value.relay_path == (portal.chan.aid.uid,)


async def test_a_call_that_was_cancelled_by_request(autojump_clock: trio.testing.MockClock) -> None:
    async with worker() as portal:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_soon, portal)
            with pytest.raises(tractor.ContextCancelled) as caught:
                await portal.run(endpoints.waits)
        assert caught.value.canceller == tractor.current_actor().uid


async def _cancel_soon(portal: tractor.Portal) -> None:
    await trio.sleep(1)
    await portal.cancel_actor()
