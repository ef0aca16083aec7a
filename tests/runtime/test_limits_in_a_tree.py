"""What ``Limits`` bounds holds in every actor of the tree, on every channel."""

from __future__ import annotations

import pytest
import trio
import trio.testing

import tractor_core as tractor
from tractor_core import Limits
from tractor_core.protocol.chunks import WHOLE_UP_TO

MIB = 1024 * 1024


async def make_bytes(size: int) -> bytes:
    return b"x" * size


async def count_bytes(data: bytes) -> int:
    return len(data)


async def test_a_child_keeps_to_the_limits_on_the_channel_to_its_parent(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A result over ``max_payload`` is the error of who sent it, and the channel goes on."""
    async with tractor.open_nursery(
        registry_addrs=["mem://limited"], start_method="inproc", limits=Limits(max_payload=MIB)
    ) as nursery:
        portal = await nursery.start_actor("worker", enable_modules=[__name__])
        with pytest.raises(tractor.RemoteActorError, match="max_payload") as caught:
            await portal.run(make_bytes, 2 * MIB)
        assert caught.value.boxed_type_str == "MsgTooLarge"
        assert len(await portal.run(make_bytes, MIB // 2)) == MIB // 2
        await nursery.cancel()


@pytest.mark.parametrize("size", [WHOLE_UP_TO - 200, WHOLE_UP_TO, 3 * WHOLE_UP_TO])
async def test_what_senders_do_not_split_fits_into_the_smallest_frame_that_is_allowed(
    autojump_clock: trio.testing.MockClock, size: int
) -> None:
    limits = Limits(max_frame=WHOLE_UP_TO)
    async with tractor.open_nursery(
        registry_addrs=["mem://frames"], start_method="inproc", limits=limits
    ) as nursery:
        portal = await nursery.start_actor("worker", enable_modules=[__name__])
        assert await portal.run(count_bytes, b"x" * size) == size
        assert len(await portal.run(make_bytes, size)) == size
        await nursery.cancel()


def test_a_frame_limit_below_what_senders_do_not_split_is_refused() -> None:
    with pytest.raises(ValueError, match="max_frame must be between 131072"):
        Limits(max_frame=WHOLE_UP_TO - 1)
