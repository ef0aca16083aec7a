"""``tractor-core certs``: a private authority and a certificate, for development."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import os
import re
import secrets
import socket
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tractor_core.seams.hosts import WILDCARDS, primary_address
from tractor_core.seams.tls import CA_VARIABLE, CERT_VARIABLE, KEY_VARIABLE

CA_CERT, CA_KEY, CERT, KEY = "ca.pem", "ca-key.pem", "cert.pem", "key.pem"

#: Clocks of two machines differ; a certificate is good from so long ago.
_BACKDATED = datetime.timedelta(hours=1)

_HOST_NAME = re.compile(r"(\*\.)?[a-zA-Z0-9_]([a-zA-Z0-9_.-]{0,251}[a-zA-Z0-9_])?")

_Authority = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def make(directory: Path, hosts: Sequence[str], days: int, ca: Path | None) -> dict[str, Path]:
    """Write the files; the paths to put into the environment, by variable.

    ``FileExistsError`` where one is there already: then nothing is written. ``ca`` is the directory of
    an authority made before.
    """
    names = [CA_CERT, CERT, KEY, *([CA_KEY] if ca is None else [])]
    there = [name for name in names if os.path.lexists(directory / name)]
    if there:
        raise FileExistsError(f"{directory} has {', '.join(there)} already, and nothing is overwritten")
    authority = _new_authority(days) if ca is None else _read_authority(ca)
    certificate, key = _issue(authority, [*_own_hosts(), *hosts], days)
    contents = {
        CA_CERT: _pem(authority[0]),
        CERT: _pem(certificate),
        KEY: _key_pem(key),
        **({CA_KEY: _key_pem(authority[1])} if ca is None else {}),
    }
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, content in contents.items():
        _write_private(directory / name, content)
    files = {CERT_VARIABLE: CERT, KEY_VARIABLE: KEY, CA_VARIABLE: CA_CERT}
    return {variable: (directory / name).absolute() for variable, name in files.items()}


def _own_hosts() -> list[str]:
    """What this host is reached by: loopback, its name, and what wildcards advertise."""
    addresses = [*WILDCARDS.values(), *map(primary_address, WILDCARDS)]
    return ["localhost", socket.gethostname(), *addresses]


def _new_authority(days: int) -> _Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    # Two authorities must not share a name, or a peer that trusts one reports the other as badly signed.
    name = _name(f"tractor-core development authority {secrets.token_hex(4)}")
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        _dated(x509.CertificateBuilder(), days)
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(identifier, critical=False)
    )
    return builder.sign(key, hashes.SHA256()), key


def _issue(
    authority: _Authority, hosts: Sequence[str], days: int
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    issuer, issuer_key = authority
    key = ec.generate_private_key(ec.SECP256R1())
    names = list(dict.fromkeys(map(_alternative, hosts)))
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = (
        _dated(x509.CertificateBuilder(), days)
        .subject_name(_name("tractor-core development actor"))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
        )
    )
    return builder.sign(issuer_key, hashes.SHA256()), key


def _read_authority(directory: Path) -> _Authority:
    certificate = x509.load_pem_x509_certificate((directory / CA_CERT).read_bytes())
    key = serialization.load_pem_private_key((directory / CA_KEY).read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise ValueError(f"{directory / CA_KEY} is not the key of {directory / CA_CERT}")
    return certificate, key


def _dated(builder: x509.CertificateBuilder, days: int) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        builder.serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _alternative(host: str) -> x509.GeneralName:
    with contextlib.suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_address(host))
    if _HOST_NAME.fullmatch(host) is None:
        raise ValueError(f"{host!r} is neither a host name (in ASCII) nor an address")
    return x509.DNSName(host)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write_private(path: Path, content: bytes) -> None:
    # Private from the first moment on, and never somebody else's file: O_EXCL follows no link either.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)
