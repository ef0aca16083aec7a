"""Proofs of a shared secret, and the secrets of processes being spawned, good for one start. No I/O.

A proof is an HMAC-SHA256 over everything both sides have said so far, headed by who is proving.
It is therefore worth nothing in another direction (reflection), another exchange (replay: both
nonces are in it) or beside altered Hellos (downgrade).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from itertools import count
from typing import Literal, Protocol, TypeAlias

import msgspec

#: Bytes of fresh randomness that each side puts in its Hello.
NONCE_SIZE = 32

#: Shorter secrets than this (bytes) are refused: an eavesdropper can try guesses offline.
MIN_SECRET_SIZE = 16

#: Which side makes the proof.
Direction: TypeAlias = Literal["dialler", "acceptor"]

# Keeps these proofs apart from whatever else may ever be computed with the same key.
_LABEL = b"tractor-core handshake proof"


def new_nonce() -> bytes:
    """Fresh random bytes for one handshake."""
    return secrets.token_bytes(NONCE_SIZE)


class Transcript(msgspec.Struct, frozen=True):
    """What both sides said before the proofs: the Hello frames, byte for byte as they were sent.

    The frames, not the structs decoded from them, so that fields which a newer peer adds are
    covered and a peer in another language need not reproduce our encoder.
    """

    protocol: str
    dialler_nonce: bytes
    acceptor_nonce: bytes
    dialler_hello: bytes
    acceptor_hello: bytes


def make_proof(key: bytes, direction: Direction, method: str, transcript: Transcript) -> bytes:
    """The 32 bytes with which the side ``direction`` shows that it holds ``key``."""
    digest = hmac.new(key, digestmod=hashlib.sha256)
    for part in (
        _LABEL,
        direction.encode(),
        transcript.protocol.encode(),
        method.encode(),
        transcript.dialler_nonce,
        transcript.acceptor_nonce,
        transcript.dialler_hello,
        transcript.acceptor_hello,
    ):
        # Every part is headed by its length, so that no two different lists run together alike.
        digest.update(len(part).to_bytes(4, "little"))
        digest.update(part)
    return digest.digest()


def check_proof(proof: bytes, key: bytes, direction: Direction, method: str, transcript: Transcript) -> bool:
    """Whether ``proof`` is what the side ``direction`` must have sent; in constant time."""
    return hmac.compare_digest(proof, make_proof(key, direction, method, transcript))


class SpawnSecrets(Protocol):
    """The secrets by which an acceptor recognises the processes it has spawned."""

    def get(self, uuid: str) -> bytes | None:
        """The secret given to the process that will be actor ``uuid``; None once it is, or will not be."""
        ...

    def attempt(self) -> int:
        """The number of a handshake that begins now, larger than all before."""
        ...


#: Longest name of an actor or a client (characters).
MAX_NAME = 255

#: With more tokens than this, an attempt would cost a listener milliseconds: every one is tried.
MAX_TOKENS = 1000


class ClientTokens:
    """The tokens by which clients prove themselves, each with the name its owner then goes by.

    ``ValueError`` for a token of less than ``MIN_SECRET_SIZE`` bytes, for a name that no actor could have
    and for more than ``MAX_TOKENS``.
    """

    __slots__ = ("_owners",)

    def __init__(self, names: Mapping[str, str] | None = None) -> None:
        self._owners = [(token.encode(), name) for token, name in (names or {}).items()]
        if len(self._owners) > MAX_TOKENS:
            raise ValueError(f"{len(self._owners)} tokens, at most {MAX_TOKENS} are possible")
        for token, name in self._owners:
            if not 0 < len(name) <= MAX_NAME or not name.isprintable():
                raise ValueError(f"a client's name has 1 to {MAX_NAME} printable characters, not {name!r}")
            if len(token) < MIN_SECRET_SIZE:
                raise ValueError(
                    f"the token of {name!r} has {len(token)} bytes, at least {MIN_SECRET_SIZE} are needed "
                    "(secrets.token_urlsafe() makes one)"
                )

    def __len__(self) -> int:
        return len(self._owners)

    def owner(self, proof: bytes, transcript: Transcript) -> tuple[bytes, str] | None:
        """The token that ``proof`` was made with, and its name; None where it is none of these."""
        found = None
        for token, name in self._owners:
            # To the end also when it was found: the time shall not tell which one it is.
            if check_proof(proof, token, "dialler", "token", transcript):
                found = token, name
        return found


class OneTimeSecrets:
    """A :class:`SpawnSecrets` to which a spawner adds. Without one added, it admits nobody.

    Each is good for one start, which may take several handshakes: a process that got no answer in time does
    not know whether its proof was taken. The spawner revokes it when the start is over.
    """

    __slots__ = ("_attempts", "_secrets")

    def __init__(self) -> None:
        self._secrets: dict[str, bytes] = {}
        self._attempts = count(1)

    def issue(self, uuid: str) -> bytes:
        """Make the secret for a process about to be spawned; ``ValueError`` if it has one."""
        if uuid in self._secrets:
            raise ValueError(f"actor {uuid} already has a spawn secret")
        secret = self._secrets[uuid] = secrets.token_bytes(32)
        return secret

    def get(self, uuid: str) -> bytes | None:
        """See :meth:`SpawnSecrets.get`."""
        return self._secrets.get(uuid)

    def attempt(self) -> int:
        """See :meth:`SpawnSecrets.attempt`."""
        return next(self._attempts)

    def revoke(self, uuid: str) -> None:
        """Forget a secret: its process is ready, or has ended. No effect if there is none."""
        self._secrets.pop(uuid, None)
