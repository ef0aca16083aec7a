"""TLS for transports: contexts made from a :class:`TLSConfig`, and where one is found when none is given.

Both sides show a certificate signed by the authority in ``TLSConfig.ca`` and check the other's. Nothing
older than TLS 1.3 is spoken: every peer is this package or a present-day browser.
"""

from __future__ import annotations

import errno
import os
import ssl
from collections.abc import Mapping

from tractor_core.errors import PluginError

from .transport import TLSConfig

#: Paths of PEM files, read where ``tls=`` is not given: certificate, key and authority.
CERT_VARIABLE = "TRACTOR_TLS_CERT"
KEY_VARIABLE = "TRACTOR_TLS_KEY"
CA_VARIABLE = "TRACTOR_TLS_CA"

_ROLES = {"cert": "certificate", "key": "key of the certificate", "ca": "certificate of the authority"}


def load_tls(tls: TLSConfig | None, environ: Mapping[str, str] = os.environ) -> TLSConfig | None:
    """``tls`` with absolute paths, else what ``TRACTOR_TLS_CERT``, ``_KEY`` and ``_CA`` name, else None.

    Absolute because a child may run in another directory. ``ValueError`` where only some of the three
    variables are set. The files are read when a transport needs them.
    """
    if tls is None:
        named = {name: environ.get(name, "") for name in (CERT_VARIABLE, KEY_VARIABLE, CA_VARIABLE)}
        if not any(named.values()):
            return None
        if missing := [name for name, path in named.items() if not path]:
            raise ValueError(f"TLS needs {', '.join(named)} together; not set: {', '.join(missing)}")
        tls = TLSConfig(*named.values())
    elif not isinstance(tls, TLSConfig):
        raise TypeError(f"tls must be a TLSConfig(cert, key, ca), not {type(tls).__name__}")
    return TLSConfig(*(os.path.abspath(path) for path in (tls.cert, tls.key, tls.ca)))


def demand_tls(tls: TLSConfig | None, scheme: str) -> TLSConfig:
    """``tls``, or ``PluginError`` saying how to give one to a transport that cannot do without."""
    if tls is None:
        raise PluginError(
            f"{scheme}:// needs certificates: give tls=TLSConfig(cert, key, ca), or set {CERT_VARIABLE}, "
            f"{KEY_VARIABLE} and {CA_VARIABLE} ('tractor-core certs DIR' makes some for development)"
        )
    return tls


def server_context(tls: TLSConfig, *, client_certificates: bool = True) -> ssl.SSLContext:
    """For a listener. With ``client_certificates``, only peers that show one of the authority's get in.

    Without, for listeners that browsers dial, who prove themselves otherwise. ``OSError`` (an
    ``ssl.SSLError`` among them) names the file that cannot be read or used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # Resumption would save a signature per connection and cost tickets that nobody asked for.
    context.num_tickets = 0
    context.verify_mode = ssl.CERT_REQUIRED if client_certificates else ssl.CERT_NONE
    return _furnished(context, tls)


def client_context(tls: TLSConfig) -> ssl.SSLContext:
    """For a dialler: shows this actor's certificate, and demands one of the authority's that names the host.

    Errors as for :func:`server_context`. Pass ``server_hostname`` when wrapping.
    """
    return _furnished(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), tls)


def _furnished(context: ssl.SSLContext, tls: TLSConfig) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    for field, role in _ROLES.items():
        path = getattr(tls, field)
        try:
            with open(path, "rb"):
                pass
        except OSError as exc:
            # ssl's own error would not say which file it means.
            raise type(exc)(exc.errno, f"cannot read the {role}: {exc.strerror}", path) from exc
    try:
        context.load_verify_locations(cafile=tls.ca)
    except ssl.SSLError as exc:
        raise _unusable(f"{tls.ca!r} holds no {_ROLES['ca']}", exc) from exc
    try:
        context.load_cert_chain(tls.cert, tls.key, password=_no_password)
    except ssl.SSLError as exc:
        raise _unusable(f"{tls.cert!r} and {tls.key!r} are no certificate and its key", exc) from exc
    return context


def _unusable(message: str, exc: ssl.SSLError) -> OSError:
    return OSError(errno.EINVAL, f"{message} (PEM is expected): {exc.reason or exc}")


def _no_password() -> str:
    # OpenSSL would ask on the terminal, and stop the whole process meanwhile.
    raise OSError(errno.EINVAL, "the key of the certificate is encrypted; give one without a passphrase")
