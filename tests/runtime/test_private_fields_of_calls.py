"""A function whose arguments would lose fields on their way is not called, and its caller is told why."""

from __future__ import annotations

import private_field_endpoints as endpoints
import pytest
import trio.testing

import tractor_core as tractor

REASON = r"argument 'account' of close_account\(\): the field '_balance' of the attrs class Account would not"


async def test_who_calls_it_is_told(autojump_clock: trio.testing.MockClock) -> None:
    endpoints.entered.clear()
    async with tractor.open_nursery(registry_addrs=["mem://private"], start_method="inproc") as nursery:
        portal = await nursery.start_actor("worker", enable_modules=["private_field_endpoints"])
        with pytest.raises(TypeError, match=REASON):
            await portal.run(endpoints.close_account, endpoints.Account("ann", 5))
        # By its name the caller cannot know: then the actor that has the function refuses.
        with (
            pytest.warns(DeprecationWarning, match="run"),
            pytest.raises(tractor.RemoteActorError, match=REASON) as caught,
        ):
            await portal.run("private_field_endpoints", "close_account", account={"owner": "ann"})
        assert caught.value.boxed_type is TypeError
        await nursery.cancel()
    assert endpoints.entered == []


def test_a_contract_is_refused_where_it_is_made() -> None:
    with pytest.raises(
        TypeError, match=r"pld_spec of .*endpoint\(\) .*'_balance' of the attrs class Account"
    ):

        @tractor.context(pld_spec=endpoints.Account)
        async def endpoint(ctx: tractor.Context) -> None: ...
