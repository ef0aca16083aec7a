"""Payload contracts and signatures in dialogs: what is refused, by whom, and where it says the fault is."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import contract_endpoints as endpoints
import msgspec
import pytest
import trio
import trio.testing
from contract_endpoints import Colour, Done, Named, Page, Point, Row, Table, table

import tractor_core as tractor

PATH = "$.rows[2].id"


@asynccontextmanager
async def worker(name: str) -> AsyncIterator[tractor.Portal]:
    endpoints.notes.clear()
    async with tractor.open_nursery(registry_addrs=[f"mem://{name}"], start_method="inproc") as nursery:
        yield await nursery.start_actor("worker", enable_modules=["contract_endpoints"])
        await nursery.cancel()


async def test_a_first_value_is_refused_at_its_sender_and_corrected(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with worker("contract-started") as portal:
        async with portal.open_context(endpoints.keeps_books) as (context, first):
            assert first == table()
            async with context.open_stream() as stream:
                await stream.send(None)
                assert await stream.receive() == Done(1)
            assert await context.wait_for_result() == Done(3)
    assert endpoints.notes == [f"{PATH} three True"]


async def test_a_result_is_refused_at_its_sender(autojump_clock: trio.testing.MockClock) -> None:
    async with worker("contract-return") as portal:
        with pytest.raises(tractor.MsgTypeError) as caught:
            async with portal.open_context(endpoints.keeps_books, bad="return"):
                pass
        assert caught.value.path == PATH
        assert caught.value.bad_msg == "three"
        assert caught.value.src_uid == portal.chan.aid.uid
        assert "expected `int`, got `str`" in caught.value.message


async def test_a_result_that_was_forgotten_is_shown_as_none(autojump_clock: trio.testing.MockClock) -> None:
    async with worker("contract-nothing") as portal:
        with pytest.raises(tractor.MsgTypeError, match="got `None`") as caught:
            async with portal.open_context(endpoints.returns_nothing):
                pass
        assert (caught.value.path, caught.value.bad_msg) == ("$", "None")


async def test_a_stream_value_is_refused_at_its_receiver_and_its_sender_is_told(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with worker("contract-yield") as portal:
        with pytest.raises(tractor.MsgTypeError) as caught:
            async with portal.open_context(endpoints.keeps_books, bad="send") as (context, _):
                async with context.open_stream() as stream:
                    await stream.send(None)
                    await stream.receive()
        assert (caught.value.path, caught.value.bad_msg) == (PATH, "three")
        assert endpoints.notes[1:] == [f"refused {PATH} three"]

        endpoints.notes.clear()
        with pytest.raises(tractor.MsgTypeError) as caught:
            async with portal.open_context(endpoints.keeps_books) as (context, _):
                async with context.open_stream() as stream:
                    await stream.send(Table([Row(1, -1.0)]))
                    await stream.receive()
        assert (caught.value.path, caught.value.bad_msg) == ("$.rows[0].price", "-1.0")
        assert endpoints.notes[1:] == ["refused $.rows[0].price -1.0"]


async def test_every_kind_of_annotation(autojump_clock: trio.testing.MockClock) -> None:
    async with worker("signature-kinds") as portal:
        good: dict[str, Any] = {"colour": Colour.RED, "share": 0.5, "owner": Named("x")}
        arrived = await portal.run(
            endpoints.everything, "a", Done(1), Page([1, 2]), Point(1), Point(2, 3), **good, depth=4
        )
        assert arrived == {
            "types": ["str", "Done", "Page", "Colour", "float", "Named"],
            "points": [1, 2],
            "limits": {"depth": 4},
        }
        for args, kwargs, path in (
            (("c", Done(1), Page([])), {}, "$.kind"),
            (("a", Row(1, 1.0), Page([])), {}, "$.shape"),
            (("a", Done(1), Page(["x"])), {}, "$.page.items[0]"),
            (("a", Done(1), Page([]), Point("x")), {}, "$.3.x"),  # type: ignore[arg-type]
            (("a", Done(1), Page([])), {"colour": "blue"}, "$.colour"),
            (("a", Done(1), Page([])), {"share": 1.5}, "$.share"),
            (("a", Done(1), Page([])), {"owner": {"nom": "x"}}, "$.owner"),
            (("a", Done(1), Page([])), {"depth": "deep"}, "$.depth"),
            (("a", Done(1)), {}, "$.page"),
        ):
            with pytest.raises(tractor.MsgTypeError) as caught:
                await portal.run(endpoints.everything, *args, **kwargs)  # type: ignore[arg-type]
            assert caught.value.path == path
        assert endpoints.notes == ["ran"]


async def test_run_in_actor_and_streams_are_typed_alike(autojump_clock: trio.testing.MockClock) -> None:
    async with tractor.open_nursery(
        registry_addrs=["mem://signature-once"], start_method="inproc"
    ) as nursery:
        portal = await nursery.run_in_actor(endpoints.corner, point=Point(3))
        assert await portal.wait_for_result() == Named("3")
        worker = await nursery.start_actor("worker", enable_modules=["contract_endpoints"])
        async with worker.open_stream_from(endpoints.corners, 2) as stream:
            assert [point async for point in stream] == [Point(0), Point(1)]
        with pytest.raises(tractor.MsgTypeError) as caught:
            async with worker.open_stream_from(endpoints.wrong_corners) as stream:
                await stream.receive()
        assert caught.value.path == "$.x"
        await nursery.cancel()


async def test_a_wrong_argument_of_run_in_actor(autojump_clock: trio.testing.MockClock) -> None:
    with pytest.raises(tractor.MsgTypeError) as caught:
        async with tractor.open_nursery(
            registry_addrs=["mem://signature-wrong"], start_method="inproc"
        ) as nursery:
            portal = await nursery.run_in_actor(endpoints.corner, point={"x": "three"})
            await portal.wait_for_result()
    assert caught.value.path == "$.point.x"


async def test_annotations_that_are_not_checked_are_logged_once(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("RUNTIME", "tractor_core")
    async with worker("signature-opaque") as portal:
        for thing in (1, "text"):
            assert await portal.run(endpoints.takes_opaque, thing) == thing  # type: ignore[comparison-overlap, arg-type]
        await portal.run(endpoints.corner, Point(1))
    said = [record.getMessage() for record in caplog.records if "takes anything" in record.getMessage()]
    assert len(said) == 1
    assert "takes_opaque" in said[0] and "Opaque" in said[0] and "return" in said[0]
    assert "count" not in said[0]


def test_a_contract_that_nothing_can_be_decoded_by_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match=r"pld_spec of .*endpoint\(\) cannot be decoded"):

        @tractor.context(pld_spec=str | uuid.UUID)
        async def endpoint(ctx: tractor.Context) -> None: ...


def test_a_contract_may_refer_to_what_comes_later() -> None:
    @tractor.context(pld_spec=Early)
    async def endpoint(ctx: tractor.Context) -> None: ...

    assert endpoint.__name__ == "endpoint"


class Early(msgspec.Struct):
    later: Later | None = None


class Later(msgspec.Struct):
    pass
