"""Types of the user's own, by a codec in force or by a contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import dialog_endpoints as endpoints
import pytest
import trio
import trio.testing
from dialog_endpoints import Celsius, celsius_codec

import tractor_core as tractor
from tractor_core.msg import apply_codec, limit_plds


@asynccontextmanager
async def worker(name: str) -> AsyncIterator[tractor.Portal]:
    async with tractor.open_nursery(registry_addrs=[f"mem://{name}"], start_method="inproc") as nursery:
        yield await nursery.start_actor("worker", enable_modules=["dialog_endpoints"])
        await nursery.cancel()


async def test_a_codec_in_force_at_both_ends(autojump_clock: trio.testing.MockClock) -> None:
    async with worker("codec") as portal:
        with apply_codec(celsius_codec):
            async with portal.open_context(endpoints.warms) as (context, first):
                assert isinstance(first, Celsius) and first.degrees == 1
                async with context.open_stream() as stream:
                    await stream.send(Celsius(20.5))
                    warmer = await stream.receive()
                    assert isinstance(warmer, Celsius) and warmer.degrees == 21.5
        with pytest.raises(TypeError, match="Celsius"):
            await portal.run(endpoints.take_any, Celsius(1))


async def test_a_codec_of_one_channel(autojump_clock: trio.testing.MockClock) -> None:
    async with worker("channel-codec") as portal:
        with portal.chan.apply_codec(celsius_codec):
            async with portal.open_context(endpoints.warms) as (context, first):
                assert isinstance(first, Celsius)
                async with context.open_stream() as stream:
                    await stream.send(Celsius(1))
                    assert (await stream.receive()).degrees == 2
        assert portal.chan.payload_codec is None


async def test_arguments_are_encoded_by_the_codec_in_force(autojump_clock: trio.testing.MockClock) -> None:
    plain = tractor.msg.mk_codec(enc_hook=endpoints.encode)
    async with worker("argument-codec") as portal:
        with apply_codec(plain):
            assert await portal.run(endpoints.take_any, Celsius(3.5)) == 3.5
            assert await portal.run(endpoints.take_any, value={"now": Celsius(4)}) == {"now": 4}
            with pytest.raises(TypeError, match=r"args\[0\]"):
                await portal.run(endpoints.take_any, print)


async def test_payloads_limited_by_the_receiver(autojump_clock: trio.testing.MockClock) -> None:
    async with worker("limited-payloads") as portal:
        with pytest.raises(tractor.MsgTypeError, match="expected `str`"), limit_plds(str):
            async with portal.open_context(endpoints.contracted):
                raise AssertionError("the first value is no str")
        with limit_plds(int):
            async with portal.open_context(endpoints.contracted) as (context, first):
                assert first == 0
                async with context.open_stream() as stream:
                    await stream.send(1)
                assert await context.wait_for_result() == 1


async def test_strict_parity(autojump_clock: trio.testing.MockClock) -> None:
    async with worker("parity") as portal:
        async with portal.open_context(endpoints.parity) as (context, first):
            assert first == [1, 2]
            assert "round trip" in await context.wait_for_result()
