"""Values nested deeper than a peer can follow end their own call, whatever hid them from the sender."""

from __future__ import annotations

from typing import Any

import budget_endpoints as endpoints
import pytest
import trio
import trio.testing
from msgspec import Raw

import tractor_core as tractor
from tractor_core.msg import types as m

DEEP = 30_000


def hidden(depth: int) -> list[Any]:
    """A branch so deep, behind so many others that the sender's look at it does not come that far."""
    branch: Any = None
    for _ in range(depth):
        branch = [branch]
    return [*([[0]] * 1000), branch]


async def take(value: Any) -> int:
    return len(value)


async def test_what_is_too_deep_for_the_sender_is_refused_there(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with tractor.open_root_actor(registry_addrs=["mem://deep"], enable_modules=[__name__]):
        async with tractor.open_portal("mem://deep") as portal:
            with pytest.raises(ValueError, match="nested deeper than 200"):
                await portal.run(take, hidden(150)[-1:] * 3 + [hidden(300)[-1]])
            # What its look at a wide value misses arrives, where the receiver can follow it.
            assert await portal.run(take, hidden(300)) == 1001
            assert await portal.run(take, [1]) == 1


@pytest.mark.parametrize("functype", ["call", "yield"])
async def test_a_value_that_nobody_can_follow_is_its_dialogs_error(
    autojump_clock: trio.testing.MockClock, functype: str
) -> None:
    """A peer that does not look before it sends."""
    bomb = Raw(b"\x91" * DEEP + b"\x90")
    async with tractor.open_root_actor(
        registry_addrs=["mem://bomb"], enable_modules=[endpoints.__name__]
    ) as actor:
        async with await tractor.Channel.from_addr("mem://bomb") as channel:
            empty, none = channel.codec.encode_payload([]), channel.codec.encode_payload({})
            cid = channel.new_cid()
            if functype == "call":
                request = m.Start(cid, f"{endpoints.__name__}:length", "asyncfunc", bomb, none)
                channel.post_frame(channel._encode(request), cid)
                await channel._flush_all()
            else:
                target = f"{endpoints.__name__}:echo"
                await channel.send(m.Start(cid, target, "context", empty, none))
                assert [type(await channel.recv()) for _ in range(3)] == [m.StartAck, m.Started, m.Open]
                channel.post_frame(channel._encode(m.Yield(cid, bomb)), cid)
                await channel._flush_all()
            error = await channel.recv()
            assert isinstance(error, m.Error)
            assert error.cid == cid
            assert error.error.kind == "msgtype"
            assert "nested deeper than this actor can read" in error.error.message
            # The channel goes on.
            (served,) = next(iter(actor.peers.values()))
            assert not served.closed
            await channel.send(m.Start(channel.new_cid(), f"{endpoints.__name__}:add", "asyncfunc",
                                       channel.codec.encode_payload([1, 2]), none))  # fmt: skip
            assert isinstance(await channel.recv(), m.Return)
