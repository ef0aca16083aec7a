"""Certificates for tests, made once per module that asks, and a TLS transport that has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import trustme

import tractor_tcp
from tractor_core.seams import Address, TLSConfig, TransportOptions

HOSTS = ("127.0.0.1", "::1", "localhost")


def make_tls(directory: Path, *names: str, ca: trustme.CA | None = None, prefix: str = "") -> TLSConfig:
    """Files for an actor reachable at ``names`` (default: this host), of a new authority without ``ca``."""
    ca = ca or trustme.CA()
    leaf = ca.issue_cert(*(names or HOSTS))
    paths = {part: directory / f"{prefix}{part}.pem" for part in ("cert", "key", "ca")}
    leaf.private_key_pem.write_to_path(str(paths["key"]))
    paths["cert"].write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    ca.cert_pem.write_to_path(str(paths["ca"]))
    return TLSConfig(str(paths["cert"]), str(paths["key"]), str(paths["ca"]))


class WithCertificates(tractor_tcp.TlsTransport):
    """The TLS transport as an actor with these certificates uses it."""

    def __init__(self, tls: TLSConfig) -> None:
        self.tls = tls

    async def connect(self, address: Address, options: TransportOptions) -> Any:
        return await super().connect(address, msgspec.structs.replace(options, tls=self.tls))

    async def listen(self, address: Address, options: TransportOptions) -> Any:
        return await super().listen(address, msgspec.structs.replace(options, tls=self.tls))
