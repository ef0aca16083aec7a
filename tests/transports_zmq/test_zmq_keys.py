"""Who gets in: derived keys, certificates, and nobody else."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import zmq.auth
from msgspec.structs import replace

import tractor_zmq
from tractor_core.errors import AuthenticationFailed
from tractor_core.seams import Address, Connection, Listener, TransportOptions
from tractor_core.trionics import collapse_eg
from tractor_zmq.keys import dialler_keys, listener_keys

OPTIONS = TransportOptions(key=b"k" * 32, connect_timeout=3.0)


@asynccontextmanager
async def serving(
    options: TransportOptions = OPTIONS, params: tuple[tuple[str, str], ...] = ()
) -> AsyncIterator:
    """A listener and the connections it accepted."""
    accepted: list[Connection] = []

    async def handler(connection: Connection) -> None:
        accepted.append(connection)
        while frames := await connection.receive():
            connection.send_nowait(frames)

    listener = await tractor_zmq.transport.listen(Address("zmq+tcp", "127.0.0.1", 0, "", params), options)
    try:
        async with collapse_eg(), trio.open_nursery() as nursery:
            await nursery.start(listener.serve, handler)
            yield listener, accepted
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await listener.aclose()


async def expect_echo(listener: Listener, options: TransportOptions = OPTIONS) -> Connection:
    connection = await tractor_zmq.transport.connect(listener.address, options)
    connection.send_nowait([b"hello"])
    assert [bytes(frame) for frame in await connection.receive()] == [b"hello"]
    return connection


def test_both_pairs_follow_from_the_key() -> None:
    one, other = listener_keys(b"a" * 16, None), listener_keys(b"b" * 16, None)
    assert one == listener_keys(b"a" * 16, None) and one != other
    dialler = dialler_keys(b"a" * 16, None)
    assert dialler.listener == one.own.public
    assert one.admitted == {dialler.own.public}
    assert dialler.own.public != one.own.public
    assert one.own.secret.hex() not in repr(one) and str(one.own.secret) not in repr(one)


def test_the_derivation_is_part_of_the_protocol() -> None:
    assert listener_keys(b"tractor" * 3, None).own.public.hex() == LISTENER_PUBLIC
    assert dialler_keys(b"tractor" * 3, None).own.public.hex() == DIALLER_PUBLIC


LISTENER_PUBLIC = "34c26dd30440b4525020dae65340c8f17e5bcf91757b39df7ff5c5bf34d6f16b"
DIALLER_PUBLIC = "1a37eda53613db09a4272b983e1b8df806df57deb55b78548f14b2809ddfa82b"


async def test_peers_know_each_others_key() -> None:
    async with serving() as (listener, accepted):
        connection = await expect_echo(listener)
        assert connection.facts.encrypted and accepted[0].facts.encrypted
        assert connection.facts.certificate == listener_keys(OPTIONS.key, None).own.public
        assert accepted[0].facts.certificate == dialler_keys(OPTIONS.key, None).own.public
        await connection.aclose()


async def test_another_key_is_refused() -> None:
    async with serving() as (listener, accepted):
        with pytest.raises(AuthenticationFailed, match=r"key"):
            await tractor_zmq.transport.connect(listener.address, replace(OPTIONS, key=b"other" * 8))
        assert accepted == []
        await (await expect_echo(listener)).aclose()


async def test_without_a_key_only_this_process_gets_in() -> None:
    none = TransportOptions(connect_timeout=3.0)
    async with serving(none) as (listener, accepted):
        await (await expect_echo(listener, none)).aclose()
        with pytest.raises(AuthenticationFailed):
            await tractor_zmq.transport.connect(listener.address, OPTIONS)
        assert len(accepted) == 1


def create_certificates(place: Path, name: str) -> str:
    public, secret = zmq.auth.create_certificates(place, name)
    Path(secret).chmod(0o600)
    return public


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """A directory as both sides have it, with one admitted client."""
    (tmp_path / "clients").mkdir()
    create_certificates(tmp_path, "server")
    public = create_certificates(tmp_path, "client")
    shutil.copy(public, tmp_path / "clients" / "client.key")
    return tmp_path


async def test_certificates_from_a_directory(certificates: Path) -> None:
    params = (("curve", str(certificates)),)
    async with serving(params=params) as (listener, accepted):
        assert listener.address.params == params
        await (await expect_echo(listener)).aclose()
        assert accepted[0].facts.certificate is not None
        # The tree's key does not open this door.
        plain = Address("zmq+tcp", "127.0.0.1", listener.address.port)
        with pytest.raises(AuthenticationFailed):
            await tractor_zmq.transport.connect(plain, OPTIONS)


async def test_a_client_that_is_not_listed_is_told(
    certificates: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stranger = tmp_path_factory.mktemp("stranger")
    shutil.copy(certificates / "server.key", stranger / "server.key")
    create_certificates(stranger, "client")
    async with serving(params=(("curve", str(certificates)),)) as (listener, accepted):
        with pytest.raises(AuthenticationFailed, match="not admitted"):
            await tractor_zmq.transport.connect(
                replace(listener.address, params=(("curve", str(stranger)),)), OPTIONS
            )
        assert accepted == []


async def test_an_open_secret_is_refused(certificates: Path) -> None:
    (certificates / "server.key_secret").chmod(0o644)
    with pytest.raises(PermissionError, match="0644"):
        await tractor_zmq.transport.listen(
            Address("zmq+tcp", "127.0.0.1", 0, "", (("curve", str(certificates)),)), OPTIONS
        )


async def test_missing_certificates_are_named(tmp_path: Path) -> None:
    address = Address("zmq+tcp", "127.0.0.1", 0, "", (("curve", str(tmp_path)),))
    with pytest.raises(FileNotFoundError, match="clients"):
        await tractor_zmq.transport.listen(address, OPTIONS)
    with pytest.raises(FileNotFoundError, match="client.key_secret"):
        await tractor_zmq.transport.connect(address.with_port(1), OPTIONS)


async def test_an_impostor_of_the_listener_is_refused(certificates: Path) -> None:
    """Who does not hold the listener's secret cannot answer in its place."""
    async with serving() as (listener, accepted):
        address = replace(listener.address, params=(("curve", str(certificates)),))
        with pytest.raises(AuthenticationFailed):
            await tractor_zmq.transport.connect(address, OPTIONS)
        assert accepted == []
