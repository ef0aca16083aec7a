"""What is particular to TLS: who gets in, what strangers can do, and what files must be like."""

from __future__ import annotations

import contextlib
import datetime
import logging
import os
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
import trustme
from cryptography.hazmat.primitives import serialization
from tls_files import WithCertificates, make_tls

import tractor_core as tractor
import tractor_tcp
from tractor_core.errors import AuthenticationFailed, PluginError, TransportClosed
from tractor_core.seams import Address, Connection, TLSConfig, TransportOptions, pack_header
from tractor_core.seams.tls import client_context, load_tls, server_context
from tractor_core.testing.check_transport import receive_count


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA) -> TLSConfig:
    return make_tls(tmp_path_factory.mktemp("tls"), ca=authority)


@pytest.fixture(scope="module")
def transport(tls: TLSConfig) -> WithCertificates:
    return WithCertificates(tls)


@contextlib.asynccontextmanager
async def echoing(
    transport: WithCertificates, options: TransportOptions | None = None, facts: list[Any] | None = None
) -> AsyncIterator[Address]:
    async def handler(connection: Connection) -> None:
        if facts is not None:
            facts.append(connection.facts)
        while frames := await connection.receive():
            connection.send_nowait(frames)
            await connection.flush()
        await connection.aclose()

    listener = await transport.listen(transport.default_bind(), options or TransportOptions())
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(listener.serve, handler)
            yield listener.address
            nursery.cancel_scope.cancel()
    finally:
        await listener.aclose()


async def expect_service(transport: WithCertificates, address: Address) -> None:
    connection = await transport.connect(address, TransportOptions())
    connection.send_nowait([b"hello"])
    assert [bytes(frame) for frame in await receive_count(connection, 1)] == [b"hello"]
    await connection.aclose()


async def raw(address: Address) -> trio.SocketStream:
    assert address.port is not None
    return await trio.open_tcp_stream(address.host, address.port)


async def until_closed(stream: trio.SocketStream) -> bytes:
    received = b""
    with contextlib.suppress(trio.BrokenResourceError):
        async for part in stream:
            received += part
    return received


def der(tls: TLSConfig) -> bytes:
    return ssl.PEM_cert_to_DER_cert(Path(tls.cert).read_text())


# -- who gets in -----------------------------------------------------------------------------


async def test_each_side_sees_the_others_certificate(
    authority: trustme.CA, tls: TLSConfig, transport: WithCertificates, tmp_path: Path
) -> None:
    other = make_tls(tmp_path, "elsewhere.example", ca=authority)
    seen: list[Any] = []
    async with echoing(transport, facts=seen) as address:
        connection = await WithCertificates(other).connect(address, TransportOptions())
        connection.send_nowait([b"hello"])
        await receive_count(connection, 1)
        assert connection.facts.certificate == der(tls)
        assert connection.facts.encrypted and connection.facts.certified
        assert seen[0].certificate == der(other)
        assert seen[0].encrypted and seen[0].certified
        assert not seen[0].same_host
        await connection.aclose()


async def test_a_dialler_of_another_authority_is_refused_and_told_so(
    tls: TLSConfig, transport: WithCertificates, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stranger = msgspec.structs.replace(make_tls(tmp_path), ca=tls.ca)
    began = trio.current_time()
    async with echoing(transport) as address:
        for _ in range(3):
            connection = await WithCertificates(stranger).connect(address, TransportOptions())
            with pytest.raises(AuthenticationFailed, match="refused this actor's certificate"):
                await connection.receive()
            connection.abort()
        await expect_service(transport, address)
    assert {record.levelname for record in caplog.records} == {"WARNING"}
    assert len(caplog.records) <= 1 + trio.current_time() - began, "one for each second"
    assert "is not good" in caplog.text and f"peer tls://{address.host}" in caplog.text


async def test_a_dialler_without_a_certificate_is_refused(
    tls: TLSConfig, transport: WithCertificates, caplog: pytest.LogCaptureFixture
) -> None:
    context = ssl.create_default_context(cafile=tls.ca)
    async with echoing(transport) as address:
        stream = trio.SSLStream(await raw(address), context, server_hostname="127.0.0.1")
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(pack_header(2) + b"hi")
            await stream.receive_some()
        await trio.aclose_forcefully(stream)
        await expect_service(transport, address)
    assert len(caplog.records) == 1


async def test_an_acceptor_of_another_authority_is_not_believed(
    transport: WithCertificates, tmp_path: Path
) -> None:
    async with echoing(WithCertificates(make_tls(tmp_path))) as address:
        with pytest.raises(AuthenticationFailed, match=f"the certificate of {address} is not good"):
            await transport.connect(address, TransportOptions())


@pytest.mark.parametrize(("names", "dialled"), [(["example.org"], "127.0.0.1"), (["127.0.0.1"], "localhost")])
async def test_the_certificate_must_name_the_host_that_was_dialled(
    authority: trustme.CA, transport: WithCertificates, tmp_path: Path, names: list[str], dialled: str
) -> None:
    async with echoing(WithCertificates(make_tls(tmp_path, *names, ca=authority))) as address:
        with pytest.raises(AuthenticationFailed, match="mismatch"):
            await transport.connect(Address("tls", dialled, address.port), TransportOptions())


async def test_an_expired_certificate_is_not_good(
    authority: trustme.CA, transport: WithCertificates, tmp_path: Path
) -> None:
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    expired = make_tls(tmp_path, ca=authority)
    leaf = authority.issue_cert("127.0.0.1", not_after=yesterday)
    leaf.private_key_pem.write_to_path(expired.key)
    leaf.cert_chain_pems[0].write_to_path(expired.cert)
    async with echoing(WithCertificates(expired)) as address:
        with pytest.raises(AuthenticationFailed, match="expired"):
            await transport.connect(address, TransportOptions())


async def test_nothing_older_than_tls_1_3_is_spoken(tls: TLSConfig, transport: WithCertificates) -> None:
    context = ssl.create_default_context(cafile=tls.ca)
    context.load_cert_chain(tls.cert, tls.key)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with echoing(transport) as address:
        stream = trio.SSLStream(await raw(address), context, server_hostname="127.0.0.1")
        with pytest.raises(trio.BrokenResourceError):
            await stream.do_handshake()
        await trio.aclose_forcefully(stream)


async def test_tls_of_others_can_speak_to_it(tls: TLSConfig, transport: WithCertificates) -> None:
    context = ssl.create_default_context(cafile=tls.ca)
    context.load_cert_chain(tls.cert, tls.key)
    async with echoing(transport) as address:
        stream = trio.SSLStream(await raw(address), context, server_hostname="127.0.0.1")
        await stream.send_all(pack_header(2) + b"hi")
        assert await stream.receive_some() == pack_header(2) + b"hi"
        plain, rest = await stream.unwrap()
        assert rest == b""
        await plain.aclose()


# -- what strangers can do -------------------------------------------------------------------

CLIENT_HELLO_WITHOUT_END = b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + b"\x03\x03" * 8190


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "closed during the TLS handshake"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "http request"),
        (b"\x00" * 1000, "no TLS with"),
        (os.urandom(32) + b"\xff" * 5000, "no TLS with"),
        (b"\x16\x03\x01\x02\x00", "closed during the TLS handshake"),
        (CLIENT_HELLO_WITHOUT_END, "no TLS with"),
        (pack_header(2) + b"hi", "closed during the TLS handshake|no TLS with"),
    ],
)
async def test_what_is_no_tls_costs_one_line(
    transport: WithCertificates, caplog: pytest.LogCaptureFixture, data: bytes, says: str
) -> None:
    began = trio.current_time()
    async with echoing(transport) as address:
        for _ in range(20):
            stream = await raw(address)
            with contextlib.suppress(trio.BrokenResourceError):
                await stream.send_all(data)
                await stream.send_eof()
            await until_closed(stream)
            await stream.aclose()
        await expect_service(transport, address)
    record, *later = caplog.records
    assert len(later) <= trio.current_time() - began, "one for each second, and no more"
    assert record.levelno == logging.WARNING and not record.exc_info
    assert any(part in record.getMessage() for part in says.split("|"))


async def test_a_silent_peer_is_let_go(transport: WithCertificates, caplog: pytest.LogCaptureFixture) -> None:
    # Long enough for the one that does speak, which comes after it.
    async with echoing(transport, TransportOptions(connect_timeout=1.5)) as address:
        stream = await raw(address)
        await stream.send_all(b"\x16")
        assert await until_closed(stream) == b""
        await stream.aclose()
        await expect_service(transport, address)
    assert "no TLS handshake within 1.5 s" in caplog.text


async def test_a_handshake_without_end_is_cut_off(
    transport: WithCertificates, caplog: pytest.LogCaptureFixture
) -> None:
    async with echoing(transport) as address:
        stream = await raw(address)
        with pytest.raises(trio.BrokenResourceError):
            while True:
                await stream.send_all(CLIENT_HELLO_WITHOUT_END)
        await stream.aclose()
        await expect_service(transport, address)
    assert len(caplog.records) == 1


async def test_dialling_what_is_no_tls(transport: WithCertificates, tls: TLSConfig) -> None:
    async def silent(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async def closing(stream: trio.SocketStream) -> None:
        await stream.aclose()

    async def plain(stream: trio.SocketStream) -> None:
        await stream.send_all(b"220 mail.example ESMTP\r\n")
        await stream.receive_some()

    expected: list[tuple[Callable[[Any], Any], type[Exception], float]] = [
        (silent, TimeoutError, 0.3),
        (closing, TransportClosed, 20),
        (plain, TransportClosed, 20),
    ]
    for serve, error, seconds in expected:
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(_serve, serve)
            port = listeners[0].socket.getsockname()[1]
            with pytest.raises(error):
                options = TransportOptions(connect_timeout=seconds)
                await transport.connect(Address("tls", "127.0.0.1", port), options)
            nursery.cancel_scope.cancel()


async def _serve(handler: Any, *, task_status: trio.TaskStatus[Any]) -> None:
    await trio.serve_tcp(handler, 0, host="127.0.0.1", task_status=task_status)


#: What a proxy makes of some bytes from the dialler; None ends both connections.
Change = Callable[[bytes], bytes | None]


@contextlib.asynccontextmanager
async def through_a_proxy(address: Address, change: Change) -> AsyncIterator[Address]:
    async def serve(near: trio.SocketStream) -> None:
        async with near, await raw(address) as far, trio.open_nursery() as nursery:
            nursery.start_soon(there, near, far, nursery.cancel_scope)
            nursery.start_soon(back, near, far)

    async def there(near: trio.SocketStream, far: trio.SocketStream, end: trio.CancelScope) -> None:
        async for data in near:
            passed = change(data)
            if passed is None:
                end.cancel()
                return
            await far.send_all(passed)
        await far.send_eof()

    async def back(near: trio.SocketStream, far: trio.SocketStream) -> None:
        async for data in far:
            await near.send_all(data)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(_serve, serve)
        yield Address("tls", "127.0.0.1", listeners[0].socket.getsockname()[1])
        nursery.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def pair_over_a_proxy(
    transport: WithCertificates, change: Change
) -> AsyncIterator[tuple[Connection, Connection]]:
    send, receive = trio.open_memory_channel[Connection](1)

    async def handler(connection: Connection) -> None:
        await send.send(connection)
        await trio.sleep_forever()

    listener = await transport.listen(transport.default_bind(), TransportOptions())
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve, handler)
        async with through_a_proxy(listener.address, change) as address:
            near = await transport.connect(address, TransportOptions())
            near.send_nowait([b"first"])
            far = await receive.receive()
            assert [bytes(frame) for frame in await far.receive()] == [b"first"]
            yield near, far
            near.abort()
        nursery.cancel_scope.cancel()
    await listener.aclose()


async def test_an_altered_byte_breaks_the_connection(transport: WithCertificates) -> None:
    tampering = trio.Event()

    def change(data: bytes) -> bytes:
        return data[:-1] + bytes([data[-1] ^ 1]) if tampering.is_set() else data

    async with pair_over_a_proxy(transport, change) as (near, far):
        tampering.set()
        near.send_nowait([b"pay 100"])
        for _ in range(2):
            with pytest.raises(TransportClosed) as caught:
                await far.receive()
        assert isinstance(caught.value.src_exc, ssl.SSLError)
        with pytest.raises(TransportClosed):
            far.send_nowait([b"thanks"])


async def test_a_connection_that_is_cut_between_two_frames_ends(transport: WithCertificates) -> None:
    cutting = trio.Event()
    async with pair_over_a_proxy(transport, lambda data: None if cutting.is_set() else data) as (near, far):
        cutting.set()
        near.send_nowait([b"never arrives"])
        for _ in range(2):
            assert list(await far.receive()) == []


async def test_a_connection_that_is_cut_within_a_frame_breaks(transport: WithCertificates) -> None:
    left: list[int] = []

    def change(data: bytes) -> bytes | None:
        if not left:
            return data
        if not left[0]:
            return None
        passed = data[: left[0]]
        left[0] -= len(passed)
        return passed

    async with pair_over_a_proxy(transport, change) as (near, far):
        left.append(20_000)
        near.send_nowait([b"before", b"x" * 60_000])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(near.flush)
            assert [bytes(frame) for frame in await far.receive()] == [b"before"]
            near.send_nowait([b"more"])
            for _ in range(2):
                with pytest.raises(TransportClosed, match="in the middle of a frame"):
                    await far.receive()
            nursery.cancel_scope.cancel()


# -- files -----------------------------------------------------------------------------------


def test_where_certificates_come_from() -> None:
    environ = {"TRACTOR_TLS_CERT": "c.pem", "TRACTOR_TLS_KEY": "/k.pem", "TRACTOR_TLS_CA": "ca.pem"}
    found = TLSConfig(os.path.abspath("c.pem"), "/k.pem", os.path.abspath("ca.pem"))
    assert load_tls(None, {}) is None
    assert load_tls(None, environ) == found
    assert load_tls(TLSConfig("c.pem", "/k.pem", "ca.pem"), {}) == found
    assert load_tls(TLSConfig("/a", "/b", "/c"), environ) == TLSConfig("/a", "/b", "/c")
    with pytest.raises(ValueError, match="not set: TRACTOR_TLS_KEY, TRACTOR_TLS_CA"):
        load_tls(None, {"TRACTOR_TLS_CERT": "c.pem"})
    with pytest.raises(TypeError, match="TLSConfig"):
        load_tls(("a", "b", "c"), {})  # type: ignore[arg-type]


async def test_without_certificates_it_says_how_to_give_some() -> None:
    transport = tractor_tcp.tls_transport
    for operation in (transport.connect, transport.listen):
        with pytest.raises(PluginError, match="TRACTOR_TLS_CERT"):
            await operation(transport.default_bind(), TransportOptions())


@pytest.mark.parametrize("part", ["cert", "key", "ca"])
@pytest.mark.parametrize("fault", ["missing", "garbage", "empty"])
def test_a_file_that_cannot_be_used_is_named(tls: TLSConfig, tmp_path: Path, part: str, fault: str) -> None:
    path = tmp_path / f"{fault}.pem"
    if fault != "missing":
        path.write_text("this is no PEM" if fault == "garbage" else "")
    broken = msgspec.structs.replace(tls, **{part: str(path)})
    for make in (server_context, client_context):
        with pytest.raises(OSError, match=rf"{fault}\.pem"):
            make(broken)


def test_a_key_of_another_certificate_and_an_encrypted_one(tls: TLSConfig, tmp_path: Path) -> None:
    other = make_tls(tmp_path)
    with pytest.raises(OSError, match="no certificate and its key"):
        server_context(msgspec.structs.replace(tls, key=other.key))
    locked = tmp_path / "locked.pem"
    locked.write_bytes(_encrypted(Path(tls.key).read_bytes()))
    with pytest.raises(OSError, match="encrypted"):
        server_context(msgspec.structs.replace(tls, key=str(locked)))


def _encrypted(pem: bytes) -> bytes:
    key = serialization.load_pem_private_key(pem, None)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )


# -- addresses -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("tcp://host:1", "not tls"),
        ("tls://:1616", "no host"),
        ("tls://host", "no port"),
        ("tls://host:1/x", "path"),
        ("tls://host:1?cert=red", "'cert'"),
        ("tls://host:1?advertise=nonsense", "advertise"),
    ],
)
def test_parse_errors(url: str, part: str) -> None:
    with pytest.raises(ValueError) as caught:
        tractor_tcp.tls_transport.parse(url)
    assert part in str(caught.value)


async def test_a_default_registry_that_something_else_holds_makes_a_private_one(
    tls: TLSConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def plain(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.send_all(b"220 mail.example ESMTP\r\n")

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(_serve, plain)
        taken = Address("tls", "127.0.0.1", listeners[0].socket.getsockname()[1])
        monkeypatch.setattr(tractor_tcp.TlsTransport, "default_registry", lambda self: taken)
        async with tractor.open_root_actor(enable_transports=["tls"], tls=tls) as root:
            assert root.is_registrar and root.accept_addrs[0].port != taken.port
        with pytest.raises(RuntimeError, match="something that is no registrar answers"):
            async with tractor.open_root_actor(registry_addrs=[taken], tls=tls):
                pytest.fail("it joined")
        nursery.cancel_scope.cancel()
    assert "keeps a private registry" in caplog.text


def test_defaults_and_ranks() -> None:
    near, far = (tractor_tcp.tls_transport.parse(f"tls://{host}:1") for host in ("localhost", "192.0.2.1"))
    plain_near, plain_far = (
        tractor_tcp.transport.parse(f"tcp://{host}:1") for host in ("localhost", "192.0.2.1")
    )
    transport, plain = tractor_tcp.tls_transport, tractor_tcp.transport
    assert transport.default_bind().url == "tls://127.0.0.1:0"
    assert transport.default_registry().url == "tls://127.0.0.1:1617"
    assert (transport.exposure(near), transport.exposure(far)) == ("host", "network")
    # On this host what is cheaper, on a network what nobody can read.
    assert plain.distance(plain_near) < transport.distance(near) < transport.distance(far)  # type: ignore[operator]
    assert transport.distance(far) < plain.distance(plain_far)  # type: ignore[operator]
