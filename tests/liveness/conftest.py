"""Certificates for the trees over every transport, in the environment."""

from __future__ import annotations

import pytest
import trustme

from tractor_core.seams.tls import CA_VARIABLE, CERT_VARIABLE, KEY_VARIABLE


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    directory = tmp_path_factory.mktemp("liveness-tls")
    authority = trustme.CA()
    leaf = authority.issue_cert("127.0.0.1", "localhost")
    places = {CERT_VARIABLE: "cert.pem", KEY_VARIABLE: "key.pem", CA_VARIABLE: "ca.pem"}
    paths = {variable: directory / name for variable, name in places.items()}
    paths[CERT_VARIABLE].write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    leaf.private_key_pem.write_to_path(str(paths[KEY_VARIABLE]))
    authority.cert_pem.write_to_path(str(paths[CA_VARIABLE]))
    for path in paths.values():
        path.chmod(0o600)
    return {variable: str(path) for variable, path in paths.items()}


@pytest.fixture
def encrypted(certificates: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``tls`` and ``wss`` need, for this process and those it starts."""
    for variable, path in certificates.items():
        monkeypatch.setenv(variable, path)
