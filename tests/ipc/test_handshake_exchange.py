"""The handshake over a connection: what it returns, what it raises, what it closes, how long it takes."""

from __future__ import annotations

import os
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from wire_fakes import FakeConnection

from tractor_core.errors import AuthenticationFailed, FrameTooLarge, TransportClosed
from tractor_core.ipc.handshake import accept_handshake, dial_handshake
from tractor_core.ipc.limits import Limits
from tractor_core.msg.types import PROTOCOL, Aid, Auth, Hello
from tractor_core.protocol.auth import OneTimeSecrets
from tractor_core.protocol.handshake import MSGPACK, Identity, Peer
from tractor_core.seams import Buffer, PeerFacts

KEY = b"k" * 32
NEAR = Identity(Aid("near", "n" * 32), KEY)
FAR = Identity(Aid("far", "f" * 32), KEY)
LIMITS = Limits()
A_HELLO = MSGPACK.encode(Hello(Aid("x", "x" * 32), PROTOCOL, ["msgpack"], b"x" * 32))

Outcome = tuple[Peer, list[Buffer]] | Exception


async def outcome(call: Any, *arguments: Any, **options: Any) -> Outcome:
    try:
        result: tuple[Peer, list[Buffer]] = await call(*arguments, **options)
        return result
    except Exception as error:
        return error


async def shake(
    near: FakeConnection,
    far: FakeConnection,
    near_identity: Identity = NEAR,
    far_identity: Identity = FAR,
    limits: Limits = LIMITS,
    secrets: OneTimeSecrets | None = None,
    **options: Any,
) -> list[Any]:
    """Both sides at once; what each of them got."""
    results: list[Outcome | None] = [None, None]

    async def side(index: int, *call: Any, **keywords: Any) -> None:
        results[index] = await outcome(*call, **keywords)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: side(0, dial_handshake, near, near_identity, limits, **options))
        nursery.start_soon(
            lambda: side(1, accept_handshake, far, far_identity, limits, secrets or OneTimeSecrets())
        )
    return results


async def test_success_raises_the_limits_of_both_connections() -> None:
    near, far = FakeConnection.pair()
    (at_near, rest_near), (at_far, rest_far) = await shake(near, far)
    assert (at_near.aid, at_far.aid) == (FAR.aid, NEAR.aid)
    assert rest_near == rest_far == []
    assert near.established and far.established
    assert near.max_frame == far.max_frame == LIMITS.max_frame
    assert not near.closed and not far.closed


async def test_the_limit_is_raised_before_the_peer_can_know() -> None:
    near, far = FakeConnection.pair()
    original, limits_when_sending = far.send_nowait, []

    def send_nowait(frames: Any) -> int:
        limits_when_sending.append(far.max_frame)
        return original(frames)

    far.send_nowait = send_nowait  # type: ignore[method-assign]
    await shake(near, far)
    assert limits_when_sending == [LIMITS.max_handshake_frame, LIMITS.max_frame]


async def test_kernel_credentials_are_those_of_this_process() -> None:
    facts = PeerFacts(pid=1, uid=os.geteuid(), same_host=True)
    near, far = FakeConnection.pair(facts, facts)
    (at_near, _), (at_far, _) = await shake(near, far, replace(NEAR, key=b"o" * 32))
    assert at_near.method == at_far.method == "peercred"


async def test_a_child_proves_itself_with_its_secret() -> None:
    secrets = OneTimeSecrets()
    secret = secrets.issue(NEAR.aid.uuid)
    near, far = FakeConnection.pair()
    results = await shake(near, far, secrets=secrets, method="spawn", secret=secret, expect_uuid=FAR.aid.uuid)
    assert [result[0].method for result in results] == ["spawn", "spawn"]


async def test_frames_behind_the_handshake_are_kept_in_order() -> None:
    near, far = FakeConnection.pair()
    result: list[Any] = []

    async def dial() -> None:
        result.append(await dial_handshake(near, NEAR, LIMITS))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(dial)
        await trio.testing.wait_all_tasks_blocked()
        original = far.send_nowait

        # The acceptor's answer and what it says next arrive at the dialler as one batch.
        def pipelined(frames: Any) -> int:
            is_answer = len(far.sent) == 1
            far.send_nowait = original  # type: ignore[method-assign]
            taken = original([*frames, b"one", b"two"]) if is_answer else original(frames)
            far.send_nowait = pipelined  # type: ignore[method-assign]
            return min(taken, len(frames))

        far.send_nowait = pipelined  # type: ignore[method-assign]
        await accept_handshake(far, FAR, LIMITS, OneTimeSecrets())
    assert [bytes(frame) for frame in result[0][1]] == [b"one", b"two"]


async def test_the_wrong_key_is_told_at_both_ends() -> None:
    near, far = FakeConnection.pair()
    at_near, at_far = await shake(near, far, replace(NEAR, key=b"o" * 32))
    assert isinstance(at_near, AuthenticationFailed) and isinstance(at_far, AuthenticationFailed)
    assert str(at_near) == "fake://far refused this actor: the dialler does not hold the key"
    assert str(at_far) == "this actor refused fake://near: the dialler does not hold the key"
    assert near.closed and far.closed
    assert not near.established and not far.established
    assert near.max_frame < LIMITS.max_frame


async def test_an_unexpected_actor_is_told_at_both_ends() -> None:
    near, far = FakeConnection.pair()
    at_near, at_far = await shake(near, far, expect_uuid="q" * 32)
    assert isinstance(at_near, AuthenticationFailed) and "this actor refused fake://far" in str(at_near)
    assert isinstance(at_far, AuthenticationFailed) and "fake://near refused this actor" in str(at_far)
    assert near.closed and far.closed


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1", b"", b"\x92\x11\x01"])
async def test_foreign_bytes_close_the_path_without_an_answer(garbage: bytes) -> None:
    near, far = FakeConnection.pair()
    near.send_nowait([garbage])
    with pytest.raises(TransportClosed, match="fake://near is not a tractor-core peer"):
        await accept_handshake(far, FAR, LIMITS, OneTimeSecrets())
    assert far.closed and far.sent == []


async def test_garbage_behind_a_good_hello_is_a_refusal() -> None:
    near, far = FakeConnection.pair()
    near.send_nowait([A_HELLO])
    near.send_nowait([b"garbage"])
    with pytest.raises(AuthenticationFailed, match="not a handshake message"):
        await accept_handshake(far, FAR, LIMITS, OneTimeSecrets())
    assert len(far.sent) == 2 and far.closed


async def test_a_frame_over_the_limit_is_foreign() -> None:
    limits = replace(LIMITS, max_handshake_frame=4096)
    near, far = FakeConnection.pair()
    near.send_nowait([b"x" * 5000])
    with pytest.raises(FrameTooLarge, match="not a tractor-core peer"):
        await accept_handshake(far, FAR, limits, OneTimeSecrets())
    assert far.closed


@pytest.mark.parametrize("said", [[], [A_HELLO]])
async def test_a_silent_peer_is_closed_when_the_time_is_over(
    said: list[bytes], autojump_clock: trio.testing.MockClock
) -> None:
    near, far = FakeConnection.pair()
    if said:
        near.send_nowait(said)
    started = trio.current_time()
    with pytest.raises(TransportClosed, match="fake://near: no handshake within 5 s"):
        await accept_handshake(far, FAR, LIMITS, OneTimeSecrets())
    assert trio.current_time() - started == pytest.approx(LIMITS.handshake_timeout)
    assert far.closed


async def test_a_silent_acceptor_is_closed_when_the_time_is_over(
    autojump_clock: trio.testing.MockClock,
) -> None:
    near, _ = FakeConnection.pair()
    with pytest.raises(TransportClosed, match="no handshake within 5 s"):
        await dial_handshake(near, NEAR, LIMITS)
    assert near.closed


async def test_a_peer_that_reads_nothing_is_closed_when_the_time_is_over(
    autojump_clock: trio.testing.MockClock,
) -> None:
    near, far = FakeConnection.pair()
    far.clogged = True
    near.send_nowait([A_HELLO])
    with pytest.raises(TransportClosed, match="no handshake within"):
        await accept_handshake(far, FAR, LIMITS, OneTimeSecrets())
    assert far.closed


async def test_a_refusal_does_not_wait_for_a_peer_that_reads_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    near, far = FakeConnection.pair()
    far.clogged = True
    near.send_nowait([MSGPACK.encode(Hello(Aid("x", "x"), "other/1", ["msgpack"], b"x" * 32))])
    with pytest.raises(AuthenticationFailed, match="protocol"):
        await accept_handshake(far, FAR, LIMITS, OneTimeSecrets())
    assert far.closed


@pytest.mark.parametrize("at", [0, 1])
async def test_a_peer_that_ends_in_between_is_named(at: int) -> None:
    near, far = FakeConnection.pair()
    if at:
        near.send_nowait([A_HELLO])
    near.abort()
    with pytest.raises(TransportClosed, match="fake://near: the peer closed the connection during"):
        await accept_handshake(far, FAR, LIMITS, OneTimeSecrets())
    assert far.closed


async def test_a_broken_path_keeps_its_cause() -> None:
    near, _ = FakeConnection.pair()
    near.broken = reset = ConnectionResetError(104, "reset")
    with pytest.raises(TransportClosed, match="fake://far: reset by the peer") as caught:
        await dial_handshake(near, NEAR, LIMITS)
    assert caught.value.src_exc is reset
    assert near.closed


async def test_a_refusal_stands_when_the_refused_has_gone() -> None:
    near, far = FakeConnection.pair()
    near.send_nowait([A_HELLO])
    near.send_nowait([MSGPACK.encode(Auth("key", b"bad"))])
    original = far.send_nowait

    def send_nowait(frames: Any) -> int:
        if far.sent:
            far.broken = ConnectionResetError(104, "reset")
        return original(frames)

    far.send_nowait = send_nowait  # type: ignore[method-assign]
    with pytest.raises(AuthenticationFailed, match="does not hold the key"):
        await accept_handshake(far, FAR, LIMITS, OneTimeSecrets())
    assert far.closed


async def test_cancelling_closes_the_connection(autojump_clock: trio.testing.MockClock) -> None:
    near, _ = FakeConnection.pair()
    with trio.move_on_after(1) as near_scope:
        await dial_handshake(near, NEAR, LIMITS)
    _, far = FakeConnection.pair()
    with trio.move_on_after(1) as far_scope:
        await accept_handshake(far, FAR, LIMITS, OneTimeSecrets())
    assert near_scope.cancelled_caught and far_scope.cancelled_caught
    assert near.closed and far.closed


async def test_a_connection_closed_here_says_so() -> None:
    near, _ = FakeConnection.pair()
    near.abort()
    with pytest.raises(trio.ClosedResourceError):
        await dial_handshake(near, NEAR, LIMITS)


@given(
    batches=st.lists(st.lists(st.one_of(st.just(A_HELLO), st.binary(max_size=60)), max_size=3), max_size=4)
)
async def test_no_bytes_get_in_or_raise_anything_else(batches: list[list[bytes]]) -> None:
    for accepting in (True, False):
        _, here = FakeConnection.pair()
        for batch in batches:
            here.deliver(*batch)
        here.ended = True
        with pytest.raises((AuthenticationFailed, TransportClosed)):
            if accepting:
                await accept_handshake(here, FAR, LIMITS, OneTimeSecrets())
            else:
                await dial_handshake(here, NEAR, LIMITS)
        assert here.closed and not here.established
