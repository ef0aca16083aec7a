"""Hostile peers on a real TCP listener: raw sockets against the endpoint."""

from __future__ import annotations

import logging
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import pytest
import trio

from tractor_core.errors import AuthenticationFailed, TransportClosed
from tractor_core.ipc.endpoint import Endpoint
from tractor_core.ipc.handshake import dial_handshake
from tractor_core.ipc.limits import Limits
from tractor_core.msg.types import PROTOCOL, Aid, Auth, Error, Hello
from tractor_core.protocol.auth import OneTimeSecrets, new_nonce
from tractor_core.protocol.handshake import MSGPACK, Dialler, Identity, Peer
from tractor_core.seams import Address, Buffer, Connection, PeerFacts, TransportOptions, pack_header
from tractor_tcp import TcpTransport

KEY = b"k" * 32
HERE = Identity(Aid("here", "h" * 32), KEY)
CALLER = Identity(Aid("caller", "c" * 32), KEY)
# For peers that wait until the time is over: real seconds pass here, so few of them.
HASTY = Limits(handshake_timeout=1.5)
PATIENT = Limits()
TRANSPORT = TcpTransport()
A_HELLO = MSGPACK.encode(Hello(CALLER.aid, PROTOCOL, ["msgpack"], b"n" * 32))


def framed(*frames: bytes) -> bytes:
    return b"".join(pack_header(len(frame)) + frame for frame in frames)


@asynccontextmanager
async def serving(
    limits: Limits = PATIENT, options: TransportOptions | None = None
) -> AsyncIterator[Address]:
    """An endpoint whose channels send back the first batch of frames they receive."""

    async def echo(connection: Connection, peer: Peer, frames: list[Buffer]) -> None:
        while batch := frames or await connection.receive():
            assert connection.send_nowait(batch) == len(batch)
            await connection.flush()
            frames = []

    listener = await TRANSPORT.listen(TRANSPORT.default_bind(), options or TransportOptions())
    endpoint = Endpoint(listener, HERE, limits, OneTimeSecrets())
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(endpoint.serve, echo)
            yield endpoint.address
            nursery.cancel_scope.cancel()
    finally:
        await endpoint.aclose()


async def works(address: Address) -> bool:
    connection = await TRANSPORT.connect(address, TransportOptions())
    try:
        await dial_handshake(connection, CALLER, PATIENT)
        connection.send_nowait([b"echo"])
        return [bytes(frame) for frame in await connection.receive()] == [b"echo"]
    finally:
        await connection.aclose()


async def raw(address: Address) -> trio.SocketStream:
    assert address.port is not None
    return await trio.open_tcp_stream(address.host, address.port)


async def drain(stream: trio.SocketStream) -> bytes:
    """What comes until the other side closes, whichever way it does."""
    received = b""
    try:
        async for part in stream:
            received += part
    except trio.BrokenResourceError:
        pass
    return received


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


# -- one bad peer --------------------------------------------------------------------------------


async def http(stream: trio.SocketStream) -> None:
    await stream.send_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")


async def http_of_another_kind(stream: trio.SocketStream) -> None:
    await stream.send_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")


async def tls(stream: trio.SocketStream) -> None:
    await stream.send_all(bytes.fromhex("16030100a5010000a10303") + b"\0" * 160)


async def bomb_of_four_gibibytes(stream: trio.SocketStream) -> None:
    await stream.send_all(b"\xff\xff\xff\xff" + b"x" * 1000)


async def frame_just_over_the_limit(stream: trio.SocketStream) -> None:
    await stream.send_all(pack_header(64 * 1024 + 1))


async def full_frame_of_nonsense(stream: trio.SocketStream) -> None:
    await stream.send_all(framed(b"\x91" * 64 * 1024))


async def truncated_prefix(stream: trio.SocketStream) -> None:
    await stream.send_all(b"\x20\x00")
    await stream.send_eof()


async def truncated_frame(stream: trio.SocketStream) -> None:
    await stream.send_all(framed(A_HELLO)[:-5])
    await stream.send_eof()


async def empty_frames(stream: trio.SocketStream) -> None:
    await stream.send_all(framed(*[b""] * 1000))


async def hello_and_then_nothing(stream: trio.SocketStream) -> None:
    await stream.send_all(framed(A_HELLO))


async def hello_and_then_nonsense(stream: trio.SocketStream) -> None:
    await stream.send_all(framed(A_HELLO, b"nonsense"))


async def hello_twice(stream: trio.SocketStream) -> None:
    await stream.send_all(framed(A_HELLO, A_HELLO))


async def another_version(stream: trio.SocketStream) -> None:
    await stream.send_all(framed(MSGPACK.encode(Hello(CALLER.aid, "tractor-core/9", ["msgpack"], b"n" * 32))))


async def no_proof(stream: trio.SocketStream) -> None:
    await stream.send_all(framed(A_HELLO, MSGPACK.encode(Auth("key"))))


async def kernel_credentials_over_tcp(stream: trio.SocketStream) -> None:
    await stream.send_all(framed(A_HELLO, MSGPACK.encode(Auth("peercred"))))


async def hang_up(stream: trio.SocketStream) -> None:
    await stream.aclose()


async def reset(stream: trio.SocketStream) -> None:
    stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    await stream.aclose()


async def silence(stream: trio.SocketStream) -> None:
    pass


async def one_byte_at_a_time(stream: trio.SocketStream) -> None:
    try:
        for byte in framed(A_HELLO) * 100:
            await stream.send_all(bytes([byte]))
            await trio.sleep(0.02)
    except trio.BrokenResourceError:
        return
    pytest.fail("the slow peer was never dropped")


@pytest.mark.parametrize(
    "misbehave",
    [
        http,
        http_of_another_kind,
        tls,
        bomb_of_four_gibibytes,
        frame_just_over_the_limit,
        full_frame_of_nonsense,
        truncated_prefix,
        truncated_frame,
        empty_frames,
        hello_and_then_nothing,
        hello_and_then_nonsense,
        hello_twice,
        another_version,
        no_proof,
        kernel_credentials_over_tcp,
        hang_up,
        reset,
        silence,
        one_byte_at_a_time,
    ],
)
async def test_a_bad_peer_is_closed_with_one_line_and_harms_nobody(
    misbehave: Callable[[trio.SocketStream], Awaitable[None]], caplog: pytest.LogCaptureFixture
) -> None:
    waits = misbehave in (silence, hello_and_then_nothing, one_byte_at_a_time)
    async with serving(HASTY if waits else PATIENT) as address, await raw(address) as stream:
        name = stream.socket.getsockname()
        await misbehave(stream)
        if misbehave not in (hang_up, reset):
            await drain(stream)
        while not lines(caplog):
            await trio.sleep(0.001)
        assert await works(address)
    assert len(lines(caplog)) == 1
    assert f"refused peer tcp://127.0.0.1:{name[1]}: " in lines(caplog)[0]
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("attack", [bomb_of_four_gibibytes, full_frame_of_nonsense, empty_frames])
async def test_what_a_bad_peer_announces_is_not_allocated(
    attack: Callable[[trio.SocketStream], Awaitable[None]],
) -> None:
    async with serving() as address, AsyncExitStack() as streams:
        assert await works(address)  # what is made once, is made
        opened = [await streams.enter_async_context(await raw(address)) for _ in range(20)]
        tracemalloc.start()
        try:
            for stream in opened:
                await attack(stream)
                await drain(stream)
            held, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 1024 * 1024
    assert held < 20 * 64 * 1024


async def test_a_refusal_reaches_the_dialler_with_its_reason() -> None:
    async with serving() as address, await raw(address) as stream:
        await another_version(stream)
        answer = await drain(stream)
    message = MSGPACK.decode(answer[4:])
    assert isinstance(message, Error)
    assert (message.cid, message.error.kind) == (-1, "auth")
    assert "protocol 'tractor-core/9' is not 'tractor-core/1'" in message.error.message


# -- recordings ----------------------------------------------------------------------------------


async def read_frame(stream: trio.SocketStream) -> bytes:
    received = b""
    while len(received) < 4 or len(received) < 4 + int.from_bytes(received[:4], "little"):
        received += (await stream.receive_some(1)) or pytest.fail("the peer closed")
    return received[4:]


async def test_a_recorded_handshake_cannot_be_replayed(caplog: pytest.LogCaptureFixture) -> None:
    machine = Dialler(CALLER, nonce=new_nonce(), facts=PeerFacts(), my_uid=-1)
    async with serving() as address:
        async with await raw(address) as stream:
            hello = machine.hello()
            await stream.send_all(framed(hello))
            proof = machine.on_hello(await read_frame(stream))
            await stream.send_all(framed(proof))
            assert machine.on_answer(await read_frame(stream)).aid == HERE.aid
        assert lines(caplog) == []
        async with await raw(address) as stream:
            await stream.send_all(framed(hello, proof, b"and what came then"))
            assert b"does not hold the key" in await drain(stream)
        assert await works(address)
    assert len(lines(caplog)) == 1 and "does not hold the key" in lines(caplog)[0]


async def test_a_mirror_does_not_get_in() -> None:
    async def mirror(stream: trio.SocketStream) -> None:
        async for part in stream:
            await stream.send_all(part)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, mirror, 0, host="127.0.0.1"))
        address = Address("tcp", "127.0.0.1", listeners[0].socket.getsockname()[1])
        connection = await TRANSPORT.connect(address, TransportOptions())
        with pytest.raises(AuthenticationFailed, match="nonce is not fresh"):
            await dial_handshake(connection, CALLER, PATIENT)
        nursery.cancel_scope.cancel()


# -- many of them --------------------------------------------------------------------------------


async def test_five_hundred_silent_peers_do_not_keep_a_good_one_out(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as address, AsyncExitStack() as streams:
        for _ in range(400):
            await streams.enter_async_context(await raw(address))
        assert await works(address)
        for _ in range(100):
            await (await raw(address)).aclose()
        assert await works(address)
    assert len(lines(caplog)) <= 10


async def test_at_the_cap_silent_peers_make_room_for_a_good_one() -> None:
    async with serving(options=TransportOptions(max_connections=5)) as address, AsyncExitStack() as streams:
        first = await raw(address)
        await streams.enter_async_context(first)
        for _ in range(20):
            await streams.enter_async_context(await raw(address))
        assert await works(address)
        assert await drain(first) == b""


async def test_a_large_frame_may_follow_the_handshake_at_once() -> None:
    large = b"x" * 1_000_000
    machine = Dialler(CALLER, nonce=new_nonce(), facts=PeerFacts(), my_uid=-1)
    async with serving() as address, await raw(address) as stream:
        await stream.send_all(framed(machine.hello()))
        proof = machine.on_hello(await read_frame(stream))
        async with trio.open_nursery() as nursery:
            # In one piece with the proof, so that the limit in force when it is read is the old one.
            nursery.start_soon(stream.send_all, framed(proof, large))
            machine.on_answer(await read_frame(stream))
            assert await read_frame_quickly(stream) == large


async def read_frame_quickly(stream: trio.SocketStream) -> bytes:
    received = bytearray()
    while len(received) < 4 or len(received) < 4 + int.from_bytes(received[:4], "little"):
        received += (await stream.receive_some(1 << 20)) or pytest.fail("the peer closed")
    return bytes(received[4:])


async def test_a_listener_that_nobody_serves_is_given_up_on() -> None:
    listener = await TRANSPORT.listen(TRANSPORT.default_bind(), TransportOptions())
    connection = await TRANSPORT.connect(listener.address, TransportOptions())
    with pytest.raises(TransportClosed, match="no handshake within 1.5 s"):
        await dial_handshake(connection, CALLER, HASTY)
    await listener.aclose()
