"""Certificates for the tests over ``wss://``."""

from __future__ import annotations

import pytest
import trustme

from tractor_core.seams import TLSConfig


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> TLSConfig:
    """Of an authority of the tests' own, good for this host."""
    directory = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    leaf = authority.issue_cert("127.0.0.1", "localhost")
    files = {name: directory / f"{name}.pem" for name in ("cert", "key", "ca")}
    for number, blob in enumerate(leaf.cert_chain_pems):
        blob.write_to_path(files["cert"], append=number > 0)
    leaf.private_key_pem.write_to_path(files["key"])
    authority.cert_pem.write_to_path(files["ca"])
    return TLSConfig(*(str(path) for path in files.values()))
