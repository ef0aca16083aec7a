"""``hide_tb`` marks the frames of streams for debuggers, as it does everywhere."""

from __future__ import annotations

import dialog_endpoints as endpoints
import pytest
import trio
import trio.testing

import tractor_core as tractor


def hidden(error: BaseException, function: str) -> list[bool]:
    """What the frames of ``function`` in an error's traceback say about themselves."""
    marks, traceback = [], error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_name == function:
            marks.append(bool(traceback.tb_frame.f_locals.get("__tracebackhide__")))
        traceback = traceback.tb_next
    return marks


async def test_of_streams(autojump_clock: trio.testing.MockClock) -> None:
    async with tractor.open_nursery(registry_addrs=["mem://hidden"], start_method="inproc") as nursery:
        portal = await nursery.start_actor("worker", enable_modules=["dialog_endpoints"])
        async with portal.open_context(endpoints.contracted) as (context, _):
            async with context.open_stream() as stream:
                await stream.send(1, hide_tb=False)
            for hide_tb in (True, False):
                with pytest.raises(trio.ClosedResourceError) as caught:
                    await stream.send(2, hide_tb=hide_tb)
                assert hidden(caught.value, "send") == [hide_tb]
                with pytest.raises(trio.ClosedResourceError) as caught:
                    await stream.receive(hide_tb=hide_tb)
                assert hidden(caught.value, "receive") == [hide_tb]
        await nursery.cancel()
