"""A peer that breaks the protocol before the task it started has taken its first step."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from msgspec import Raw

import tractor_core as tractor
from tractor_core.msg import types as m

NIL = Raw(b"\xc0")
NONE = Raw(b"\x90")
EMPTY = Raw(b"\x80")


@tractor.context
async def endpoint(ctx: tractor.Context) -> None:
    await ctx.started()
    await trio.sleep_forever()


async def wait() -> None:
    await trio.sleep_forever()


async def call() -> str:
    return "still here"


@pytest.mark.parametrize("functype", ["context", "asyncfunc"])
@pytest.mark.parametrize(
    "message",
    [m.Yield(0, NIL), m.Started(0, NIL), m.Open(0, -1, -1, "")],
    ids=lambda message: type(message).__name__,
)
async def test_it_harms_its_own_dialog_only(
    autojump_clock: trio.testing.MockClock, functype: str, message: m.Message
) -> None:
    address = f"mem://early-{functype}-{type(message).__name__}"
    name = "endpoint" if functype == "context" else "wait"
    async with tractor.open_root_actor(registry_addrs=[address], enable_modules=[__name__]):
        async with await tractor.Channel.from_addr(address) as channel:
            # Both at once: they are delivered together, and only then does the task begin.
            channel.post(m.Start(0, f"{__name__}:{name}", functype, NONE, EMPTY), lazy=True)
            await channel.send(message)
            while not isinstance(answer := await channel.recv(), m.Error):
                assert isinstance(answer, m.StartAck)
            await channel.send(m.Start(2, f"{__name__}:call", "asyncfunc", NONE, EMPTY))
            while not isinstance(answer := await channel.recv(), m.Return):
                assert isinstance(answer, m.StartAck)
            assert bytes(answer.pld) == b"\xaastill here"
