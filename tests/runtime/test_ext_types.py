"""Classes registered once per tree: what may travel where, without a word at any call."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import ext_type_endpoints as endpoints
import numpy as np
import pytest
import trio
import trio.testing
from ext_type_endpoints import EXT_TYPES, MONEY, Money

import tractor_core as tractor
from tractor_core.msg import ExtType, apply_codec, mk_codec

PRICE = Money(Decimal("2.50"), "EUR")


@asynccontextmanager
async def worker(name: str, ext_types: Any = EXT_TYPES) -> AsyncIterator[tractor.Portal]:
    async with tractor.open_nursery(
        registry_addrs=[f"mem://{name}"], start_method="inproc", ext_types=ext_types
    ) as nursery:
        yield await nursery.start_actor("worker", enable_modules=["ext_type_endpoints"])
        await nursery.cancel()


async def test_in_calls(autojump_clock: trio.testing.MockClock) -> None:
    async with worker("ext-calls") as portal:
        doubled = await portal.run(endpoints.double, PRICE)
        assert type(doubled) is Money and doubled == Money(Decimal("5.00"), "EUR")
        assert await portal.run(endpoints.pass_on, value={"all": [PRICE, None]}) == {"all": [PRICE, None]}
        with pytest.raises(tractor.MsgTypeError, match="argument 'price'") as caught:
            await portal.run(endpoints.double, 5)  # type: ignore[arg-type]
        assert caught.value.path == "$.price"
        with pytest.raises(tractor.RemoteActorError) as refused:
            await portal.run(endpoints.returns_wrong)
        assert refused.value.src_type is tractor.MsgTypeError


async def test_in_streams_and_contexts(autojump_clock: trio.testing.MockClock) -> None:
    async with worker("ext-contexts") as portal:
        async with portal.open_stream_from(endpoints.prices, 3) as prices:
            assert [price.amount async for price in prices] == [0, 1, 2]
        async with portal.open_context(endpoints.echoes, first=PRICE) as (context, first):
            assert first == PRICE
            async with context.open_stream() as stream:
                await stream.send([PRICE])
                assert await stream.receive() == [PRICE]
            assert await context.wait_for_result() == PRICE


async def test_in_contracts(autojump_clock: trio.testing.MockClock) -> None:
    async with worker("ext-contracts") as portal:
        async with portal.open_context(endpoints.changes_money) as (context, first):
            assert first == Money(Decimal(1), "EUR")
            async with context.open_stream() as stream:
                await stream.send(PRICE)
                assert await stream.receive() == Money(PRICE.amount, "CHF")
            assert await context.wait_for_result() == Money(Decimal(0), "CHF")
        with pytest.raises(tractor.RemoteActorError) as caught:
            async with portal.open_context(endpoints.changes_money) as (context, first):
                async with context.open_stream() as stream:
                    await stream.send(5)
                    await stream.receive()
        assert caught.value.src_type is tractor.MsgTypeError


async def test_arrays(autojump_clock: trio.testing.MockClock) -> None:
    rows = np.asfortranarray(np.arange(60_000.0).reshape(200, 300))
    async with worker("ext-arrays") as portal:
        scaled = await portal.run(endpoints.scaled, rows, 2.0)
        assert np.array_equal(scaled, rows * 2) and scaled.flags.f_contiguous
        assert not scaled.flags.writeable and not scaled.flags.owndata
        anything = await portal.run(endpoints.pass_on, [rows])
        assert np.array_equal(anything[0], rows)
        async with portal.open_context(endpoints.integrates) as (context, first):
            assert first.tolist() == [0, 0, 0]
            async with context.open_stream() as stream:
                await stream.send(np.arange(3.0))
                assert (await stream.receive()).tolist() == [0, 1, 2]
            assert (await context.wait_for_result()).tolist() == [0, 1, 2]
        with pytest.raises(TypeError, match="arrays of Python objects cannot be sent"):
            await portal.run(endpoints.pass_on, np.array([object()]))


async def test_beside_a_codec_in_force(autojump_clock: trio.testing.MockClock) -> None:
    """A codec of a task adds to what the tree knows; the callee has only what the tree knows."""
    codec = mk_codec(enc_hook=lambda value: sorted(value.names), dec_hook=lambda kind, value: value)
    async with worker("ext-beside") as portal:
        with apply_codec(codec):
            assert await portal.run(endpoints.pass_on, [Crew({"b", "a"}), PRICE]) == [["a", "b"], PRICE]
        with pytest.raises(TypeError, match="Encoding objects of type Crew is unsupported"):
            await portal.run(endpoints.pass_on, [Crew({"b", "a"}), PRICE])


class Crew:
    def __init__(self, names: set[str]) -> None:
        self.names = names


async def test_results_are_decoded_by_the_codec_in_force(autojump_clock: trio.testing.MockClock) -> None:
    """The tree knows nothing: both the argument and the result are this codec's affair."""
    caller = mk_codec(ext_types=[MONEY])
    async with worker("ext-results", ()) as portal:
        with apply_codec(caller):
            # The callee does not know the class: what came as an extension goes back as one.
            assert await portal.run(endpoints.pass_on, PRICE) == PRICE
        with apply_codec(caller.limited_to(list[Money])):
            assert await portal.run(endpoints.pass_on, [PRICE]) == [PRICE]
            with pytest.raises(tractor.MsgTypeError, match="expected `array`"):
                await portal.run(endpoints.pass_on, PRICE)


async def test_light_clients_are_told_too(autojump_clock: trio.testing.MockClock) -> None:
    async with worker("ext-clients"):
        async with tractor.query_actor("worker") as (address, _):
            assert address is not None
            url = address.url
        async with tractor.open_portal(url, ext_types=EXT_TYPES, name="client") as portal:
            assert await portal.run(endpoints.double, PRICE) == Money(Decimal("5.00"), "EUR")
        async with tractor.open_portal(url, ext_types=[], name="ignorant") as portal:
            with pytest.raises(TypeError, match="Encoding objects of type Money is unsupported"):
                await portal.run(endpoints.double, PRICE)


async def test_a_tree_does_not_start_with_what_children_cannot_import() -> None:
    local = ExtType(Crew, 9, lambda crew: [], lambda plain: Crew(plain))
    with pytest.raises(TypeError, match="cannot be reached by a module and a name"):
        async with tractor.open_root_actor(registry_addrs=["mem://ext-local"], ext_types=[local]):
            raise AssertionError("not reached")
    with pytest.raises(ValueError, match="Money and Crew have the same code, 7"):
        async with tractor.open_root_actor(
            registry_addrs=["mem://ext-same"], ext_types=[ExtType(Crew, 7, to_names, Crew), MONEY]
        ):
            raise AssertionError("not reached")


def to_names(crew: Crew) -> list[str]:
    return sorted(crew.names)


async def test_down_a_tree_of_processes(one_registry: str) -> None:
    async with tractor.open_nursery(registry_addrs=[one_registry], ext_types=EXT_TYPES) as nursery:
        portal = await nursery.start_actor("child", enable_modules=["ext_type_endpoints"])
        pid, doubled = await portal.run(endpoints.by_a_child_of_this_one, PRICE)
        assert pid != os.getpid()
        assert doubled == Money(Decimal("5.00"), "EUR")
        rows = np.arange(1_000_000.0)
        assert np.array_equal(await portal.run(endpoints.scaled, rows, 0.5), rows / 2)
        await nursery.cancel()
