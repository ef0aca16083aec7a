"""CURVE key pairs: derived from the tree's key, or read from a directory of certificates."""

from __future__ import annotations

import errno
import hmac
import os
import stat
from dataclasses import dataclass
from pathlib import Path

import zmq
from zmq.auth.certs import load_certificate
from zmq.utils import z85

#: What each derived secret is the HMAC-SHA256 of, under the tree's key. Part of the protocol.
LISTENER_LABEL = b"tractor-core zmq curve listener"
DIALLER_LABEL = b"tractor-core zmq curve dialler"


@dataclass(frozen=True, slots=True)
class KeyPair:
    """One CURVE key pair, each key of 32 bytes."""

    public: bytes
    secret: bytes

    def __repr__(self) -> str:
        return f"<KeyPair {self.public.hex()[:16]}>"


@dataclass(frozen=True, slots=True)
class ListenerKeys:
    """A listener's own pair, and the public keys of the diallers that it lets in."""

    own: KeyPair
    admitted: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class DiallerKeys:
    """A dialler's own pair, and the public key that the listener must prove to hold."""

    own: KeyPair
    listener: bytes


def listener_keys(key: bytes, directory: str | None) -> ListenerKeys:
    """The keys to listen with. ``OSError`` or ``ValueError`` where the directory does not hold them."""
    if directory is None:
        return ListenerKeys(_derive(key, LISTENER_LABEL), frozenset({_derive(key, DIALLER_LABEL).public}))
    place = Path(directory)
    admitted = [_read_public(path) for path in sorted((place / "clients").glob("*.key"))]
    if not admitted:
        raise FileNotFoundError(errno.ENOENT, f"no client certificates (*.key) in {place / 'clients'}")
    return ListenerKeys(_read_pair(place / "server.key_secret"), frozenset(admitted))


def dialler_keys(key: bytes, directory: str | None) -> DiallerKeys:
    """The keys to dial with. ``OSError`` or ``ValueError`` where the directory does not hold them."""
    if directory is None:
        return DiallerKeys(_derive(key, DIALLER_LABEL), _derive(key, LISTENER_LABEL).public)
    place = Path(directory)
    return DiallerKeys(_read_pair(place / "client.key_secret"), _read_public(place / "server.key"))


def _derive(key: bytes, label: bytes) -> KeyPair:
    return _pair(hmac.digest(key, label, "sha256"))


def _pair(secret: bytes) -> KeyPair:
    return KeyPair(z85.decode(zmq.curve_public(z85.encode(secret))), secret)


def _read_public(path: Path) -> bytes:
    return _read(path)[0]


def _read_pair(path: Path) -> KeyPair:
    # The permissions are looked at first: what others could read is no secret any more.
    mode = os.stat(path).st_mode
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise PermissionError(
            errno.EPERM, f"{path} is open to other users (mode {stat.S_IMODE(mode):04o}, expected 0600)"
        )
    public, secret = _read(path)
    if secret is None:
        raise ValueError(f"{path} holds no secret key")
    pair = _pair(secret)
    if pair.public != public:
        raise ValueError(f"{path}: the public key is not that of the secret key")
    return pair


def _read(path: Path) -> tuple[bytes, bytes | None]:
    if not path.is_file():
        raise FileNotFoundError(errno.ENOENT, f"no CURVE certificate {path}")
    public, secret = load_certificate(path)
    keys = [None if key is None else z85.decode(key) for key in (public, secret)]
    if any(key is not None and len(key) != 32 for key in keys) or keys[0] is None:
        raise ValueError(f"{path} is not a CURVE certificate")
    return keys[0], keys[1]
