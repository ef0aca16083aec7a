"""``tractor-core certs``: what it writes is good, private, and never in the place of something else."""

from __future__ import annotations

import datetime
import os
import ssl
from pathlib import Path

import pytest
from commands import run
from cryptography import x509

import tractor_core as tractor
from tractor_core.seams.tls import client_context, server_context

FILES = ["ca-key.pem", "ca.pem", "cert.pem", "key.pem"]


def config(directory: Path) -> tractor.TLSConfig:
    return tractor.TLSConfig(*(str(directory / name) for name in ("cert.pem", "key.pem", "ca.pem")))


def names(directory: Path) -> set[str]:
    certificate = x509.load_pem_x509_certificate((directory / "cert.pem").read_bytes())
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in found}


def test_private_files_whatever_the_umask(tmp_path: Path) -> None:
    directory = tmp_path / "deep" / "tls"
    before = os.umask(0)
    try:
        finished = run("certs", str(directory))
    finally:
        os.umask(before)
    assert finished.returncode == 0, finished.stderr
    assert sorted(path.name for path in directory.iterdir()) == FILES
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {0o600}
    assert finished.stdout.splitlines() == [
        f"export TRACTOR_TLS_CERT={directory / 'cert.pem'}",
        f"export TRACTOR_TLS_KEY={directory / 'key.pem'}",
        f"export TRACTOR_TLS_CA={directory / 'ca.pem'}",
    ]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("precious")
    (tmp_path / "ca.pem").symlink_to(tmp_path / "elsewhere")
    finished = run("certs", str(tmp_path))
    assert finished.returncode == 1
    (line,) = finished.stderr.splitlines()
    assert "key.pem" in line and "nothing is overwritten" in line
    assert (tmp_path / "key.pem").read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ca.pem", "key.pem"]


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "ca-key.pem").symlink_to(tmp_path / "elsewhere")
    finished = run("certs", str(tmp_path))
    assert finished.returncode == 1
    assert not (tmp_path / "elsewhere").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ca-key.pem"]


def test_what_the_certificate_names(tmp_path: Path) -> None:
    finished = run(
        "certs", str(tmp_path / "a"), "--host", "actors.example", "--host", "192.0.2.9", "--days", "3"
    )
    assert finished.returncode == 0, finished.stderr
    assert {"localhost", "127.0.0.1", "::1", "actors.example", "192.0.2.9"} <= names(tmp_path / "a")
    leaf = x509.load_pem_x509_certificate((tmp_path / "a" / "cert.pem").read_bytes())
    left = leaf.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    assert datetime.timedelta(days=2, hours=23) < left <= datetime.timedelta(days=3)


@pytest.mark.parametrize("host", ["a b", "https://x.example", "-x", ""])
def test_a_host_that_is_none(tmp_path: Path, host: str) -> None:
    finished = run("certs", str(tmp_path / "a"), "--host", host)
    assert finished.returncode == 1
    assert repr(host) in finished.stderr
    assert not (tmp_path / "a").exists()


def test_two_machines_of_one_authority(tmp_path: Path) -> None:
    first, second, other = tmp_path / "first", tmp_path / "second", tmp_path / "other"
    assert run("certs", str(first)).returncode == 0
    assert run("certs", str(second), "--ca", str(first)).returncode == 0
    assert run("certs", str(other)).returncode == 0
    assert (second / "ca.pem").read_bytes() == (first / "ca.pem").read_bytes()
    assert not (second / "ca-key.pem").exists()
    shake(first, second)
    shake(second, first)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(first, other)
    (first / "ca-key.pem").write_bytes((other / "ca-key.pem").read_bytes())
    finished = run("certs", str(tmp_path / "third"), "--ca", str(first))
    assert finished.returncode == 1 and "is not the key of" in finished.stderr
    assert run("certs", str(tmp_path / "third"), "--ca", str(tmp_path / "nowhere")).returncode == 1


def shake(near: Path, far: Path) -> None:
    """Both sides of a handshake, in memory; strict about what certificates must say."""
    pipes = ssl.MemoryBIO(), ssl.MemoryBIO()
    client, server = client_context(config(near)), server_context(config(far))
    for context in (client, server):
        context.verify_flags |= ssl.VERIFY_X509_STRICT
    sides = [
        client.wrap_bio(pipes[0], pipes[1], server_hostname="localhost"),
        server.wrap_bio(pipes[1], pipes[0], server_side=True),
    ]
    for _ in range(4):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert all(side.getpeercert() for side in sides)


async def test_a_tree_runs_on_them(tmp_path: Path) -> None:
    assert run("certs", str(tmp_path)).returncode == 0
    async with tractor.open_nursery(
        registry_addrs=["tls://127.0.0.1:0"], bind_addrs=["tls://0.0.0.0:0"], tls=config(tmp_path)
    ) as nursery:
        await nursery.start_actor("child")
        # What a wildcard advertises is among the names, so that others can be sure who is there.
        told = tractor.current_actor().accept_addrs[1].advertised
        async with tractor.open_portal(told) as portal:
            assert portal.chan.aid.name == "root"
        await nursery.cancel()
