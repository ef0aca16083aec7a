"""The handshake, as two machines that take and give frames. No I/O.

==========================  ==========================
dialler                     acceptor
==========================  ==========================
``hello()``                 ``on_hello()``
``on_hello()`` → proof      ``hello()``
``on_answer()`` → Peer      ``on_auth()`` → proof, Peer
==========================  ==========================

Whatever is not exactly the next step ends the machine with :class:`HandshakeError`; it never
recovers. A side that refuses sends :func:`refusal` in place of its next message, so that both ends
know who refused and why.
"""

from __future__ import annotations

import enum
import secrets
from collections.abc import Sequence
from typing import Any, Literal, NoReturn, TypeVar
from uuid import uuid4

import msgspec

from tractor_core.msg.types import PROTOCOL, RUNTIME_CID, UNSAID, Aid, Auth, Bounds, BoxedError, Error, Hello
from tractor_core.seams import Buffer, PeerFacts
from tractor_core.seams.values import repr_without

from .auth import (
    MAX_NAME,
    MIN_SECRET_SIZE,
    NONCE_SIZE,
    ClientTokens,
    SpawnSecrets,
    Transcript,
    check_proof,
    make_proof,
)

# Bounds on what an unproved peer can make this side keep, or write into its log (characters, items).
_MAX_UUID = 64
_MAX_CODECS = 16
_MAX_REASON = 200

# What a peer may say that it takes at most: enough for an error, and for any language to count.
_SMALLEST_BOUND = 4 * 1024
_LARGEST_BOUND = 2**53 - 1

# Methods by which the transport has proved the peer already; what is left to say is that this suffices.
_PROVED_BELOW = ("peercred", "certificate")

_REFUSED_TYPE = "tractor_core.errors:AuthenticationFailed"


class HandshakeError(Exception):
    """The handshake ended; ``refused_by`` tells who ended it.

    ``foreign`` is True where the peer sent something that is no handshake message at all, so that
    answering it in this protocol makes no sense. ``reason`` is short, printable and holds no secret.
    """

    def __init__(
        self, reason: str, *, refused_by: Literal["us", "peer"] = "us", foreign: bool = False
    ) -> None:
        super().__init__(f"{'this side' if refused_by == 'us' else 'the peer'} refused: {reason}")
        self.reason = reason
        self.refused_by = refused_by
        self.foreign = foreign


class Identity(msgspec.Struct, frozen=True):
    """Who this actor is and what it can prove.

    ``key`` is the tree's key; ``key_explicit`` says that the user gave it, so that nothing else
    (kernel credentials, certificates) may stand in for it. ``codecs`` are in order of preference;
    ``bounds`` is what it tells the peer that it takes.
    """

    aid: Aid
    key: bytes
    key_explicit: bool = False
    codecs: tuple[str, ...] = ("msgpack",)
    bounds: Bounds = UNSAID

    def __post_init__(self) -> None:
        if len(self.key) < MIN_SECRET_SIZE:
            raise ValueError(f"the key has {len(self.key)} bytes, at least {MIN_SECRET_SIZE} are needed")
        if fault := _aid_fault(self.aid):
            raise ValueError(f"this actor's own {fault}")
        if not 0 < len(self.codecs) <= _MAX_CODECS:
            raise ValueError(f"between 1 and {_MAX_CODECS} codecs are needed, not {len(self.codecs)}")

    def __repr__(self) -> str:
        return repr_without(self, "key")


class Peer(msgspec.Struct, frozen=True):
    """Who is at the other end, proved by ``method``; ``codec`` is what both will speak, ``bounds`` what it
    takes. ``attempt`` orders the handshakes of one spawned process at its acceptor, and is 0 for all others.

    Role "client" is who proved a token and no more: a client to the acceptor, and to a client whoever it
    dialled. It has the name that belongs to the token, and a uuid of the acceptor's choice.
    """

    aid: Aid
    codec: str
    role: Literal["tree", "client"]
    method: str
    facts: PeerFacts
    bounds: Bounds = UNSAID
    attempt: int = 0


class FrameCodec:
    """How handshake messages become frames. The decoder knows these three messages and no other."""

    def __init__(self, encoder: msgspec.msgpack.Encoder | msgspec.json.Encoder, module: Any) -> None:
        self._encoder = encoder
        self._decoder = module.Decoder(Hello | Auth | Error)

    def encode(self, message: Hello | Auth | Error) -> bytes:
        """One message as a frame."""
        return self._encoder.encode(message)

    def decode(self, frame: Buffer) -> Hello | Auth | Error:
        """The message in a frame; :class:`HandshakeError` (foreign) where there is none."""
        try:
            message: Hello | Auth | Error = self._decoder.decode(frame)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            # RecursionError: an Error message can nest, and an unproved peer chooses how deep.
            raise HandshakeError("not a handshake message", foreign=True) from error
        return message


#: The codec of handshake frames. WebSocket peers, whose subprotocol says so, use the second.
MSGPACK = FrameCodec(msgspec.msgpack.Encoder(), msgspec.msgpack)
JSON = FrameCodec(msgspec.json.Encoder(), msgspec.json)


def refusal(reason: str, codec: FrameCodec = MSGPACK) -> bytes:
    """The frame by which a side tells the other that, and why, it refuses."""
    boxed = BoxedError(
        type_name=_REFUSED_TYPE, message=_printable(reason), src_type_name=_REFUSED_TYPE, kind="auth"
    )
    return codec.encode(Error(RUNTIME_CID, boxed))


class _State(enum.Enum):
    NEW = enum.auto()
    GREETED = enum.auto()
    ANSWERED = enum.auto()
    DONE = enum.auto()
    FAILED = enum.auto()


_M = TypeVar("_M", Hello, Auth)


class _Side:
    """What the two machines share: the order of steps and the checks of a Hello."""

    def __init__(
        self, identity: Identity, nonce: bytes, facts: PeerFacts, my_uid: int, codec: FrameCodec
    ) -> None:
        if len(nonce) != NONCE_SIZE:
            raise ValueError(f"a nonce has {NONCE_SIZE} bytes, not {len(nonce)}")
        self.identity = identity
        self.nonce = nonce
        self.facts = facts
        self.my_uid = my_uid
        self.codec = codec
        self._state = _State.NEW
        hello = Hello(identity.aid, PROTOCOL, list(identity.codecs), nonce, identity.bounds)
        self._my_hello = codec.encode(hello)
        self._bounds = UNSAID

    @property
    def done(self) -> bool:
        """Whether the peer has proved itself."""
        return self._state is _State.DONE

    def _step(self, before: _State, after: _State) -> None:
        """Enter ``after``; failed for good unless the machine was in ``before``."""
        if self._state is not before:
            self._refuse("a handshake step out of order")
        self._state = after

    def _refuse(self, reason: str) -> NoReturn:
        self._state = _State.FAILED
        raise HandshakeError(reason)

    def _take(self, frame: Buffer, expected: type[_M]) -> _M:
        """Decode a frame that must be ``expected``, or the peer's refusal."""
        try:
            message = self.codec.decode(frame)
        except HandshakeError as error:
            if expected is not Hello:
                # It has sent a good Hello before, so it speaks this protocol and can be told.
                self._refuse(error.reason)
            self._state = _State.FAILED
            raise
        if isinstance(message, expected):
            return message
        if isinstance(message, Error):
            self._state = _State.FAILED
            raise HandshakeError(_printable(message.error.message) or "no reason given", refused_by="peer")
        self._refuse(f"expected {expected.__name__}, got {type(message).__name__}")

    def _check_hello(self, hello: Hello) -> None:
        if hello.protocol != PROTOCOL:
            self._refuse(f"protocol {_printable(hello.protocol)!r} is not {PROTOCOL!r}")
        if len(hello.nonce) != NONCE_SIZE:
            self._refuse(f"a nonce of {len(hello.nonce)} bytes")
        if hello.nonce == self.nonce:
            # Our own Hello mirrored back, or a peer without randomness: either proves nothing.
            self._refuse("the nonce is not fresh")
        if fault := _aid_fault(hello.aid):
            self._refuse(fault)
        if len(hello.codecs) > _MAX_CODECS:
            self._refuse(f"{len(hello.codecs)} codecs offered")
        for bound in msgspec.structs.astuple(hello.bounds):
            if bound and not _SMALLEST_BOUND <= bound <= _LARGEST_BOUND:
                self._refuse(f"a bound of {bound} bytes, less than an error needs or more than there are")
        self._bounds = hello.bounds

    def _common_codec(self, preferred: Sequence[str], other: Sequence[str]) -> str:
        """The first of the dialler's codecs that the acceptor has: a rule both sides can apply alone."""
        for name in preferred:
            if name in other:
                return name
        offered = _printable(", ".join(preferred))
        self._refuse(f"no common codec (offered {offered}; accepted {_printable(', '.join(other))})")

    @property
    def _kernel_proved(self) -> bool:
        """Whether kernel credentials are enough for this side, with no word from the peer."""
        return not self.identity.key_explicit and self.facts.uid is not None and self.facts.uid == self.my_uid

    @property
    def _certified(self) -> bool:
        """The same of certificates that both have shown: users of two machines have no cookie in common."""
        return not self.identity.key_explicit and self.facts.certified


class Dialler(_Side):
    """The side that connected.

    ``method`` of None chooses: kernel credentials or certificates where they suffice, else the key.
    ``"spawn"`` proves with the ``secret`` that the spawner handed over, good for one start, ``"token"`` with
    the one given to a client. ``expect_uuid`` names the actor that must be found at the address.
    """

    def __init__(
        self,
        identity: Identity,
        *,
        nonce: bytes,
        facts: PeerFacts,
        my_uid: int,
        method: Literal["spawn", "token"] | None = None,
        secret: bytes = b"",
        expect_uuid: str | None = None,
        codec: FrameCodec = MSGPACK,
    ) -> None:
        super().__init__(identity, nonce, facts, my_uid, codec)
        if method is not None and len(secret) < MIN_SECRET_SIZE:
            raise ValueError(f"a {method} secret has at least {MIN_SECRET_SIZE} bytes, not {len(secret)}")
        self.method = method or self._choose_method()
        self.expect_uuid = expect_uuid
        self._secret = identity.key if method is None else secret

    def _choose_method(self) -> str:
        if self._kernel_proved:
            return "peercred"
        return "certificate" if self._certified else "key"

    def hello(self) -> bytes:
        """The first frame of the exchange."""
        self._step(_State.NEW, _State.GREETED)
        return self._my_hello

    def on_hello(self, frame: Buffer) -> bytes:
        """Check who answered; the frame with this side's proof."""
        self._step(_State.GREETED, _State.ANSWERED)
        hello = self._take(frame, Hello)
        self._check_hello(hello)
        if self.expect_uuid is not None and hello.aid.uuid != self.expect_uuid:
            self._refuse(f"actor {self.expect_uuid} was expected, {hello.aid.uuid} is there")
        self._codec_name = self._common_codec(self.identity.codecs, hello.codecs)
        self._aid = hello.aid
        self._transcript = Transcript(PROTOCOL, self.nonce, hello.nonce, self._my_hello, bytes(frame))
        if self.method in _PROVED_BELOW:
            return self.codec.encode(Auth(self.method))
        return self.codec.encode(
            Auth(self.method, make_proof(self._secret, "dialler", self.method, self._transcript))
        )

    def on_answer(self, frame: Buffer) -> Peer:
        """Check the acceptor's proof; who it is."""
        self._step(_State.ANSWERED, _State.DONE)
        auth = self._take(frame, Auth)
        if auth.method != self.method:
            self._refuse(f"answered by method {_printable(auth.method)!r} instead of {self.method!r}")
        # What the transport had proved was checked when the method was chosen.
        if self.method not in _PROVED_BELOW and not check_proof(
            auth.mac, self._secret, "acceptor", self.method, self._transcript
        ):
            self._refuse("the acceptor does not hold the key")
        return Peer(self._aid, self._codec_name, _role(self.method), self.method, self.facts, self._bounds)


class Acceptor(_Side):
    """The side that was connected to. It says nothing until it has seen a Hello that it can take."""

    def __init__(
        self,
        identity: Identity,
        *,
        nonce: bytes,
        facts: PeerFacts,
        my_uid: int,
        spawn_secrets: SpawnSecrets,
        tokens: ClientTokens | None = None,
        codec: FrameCodec = MSGPACK,
    ) -> None:
        super().__init__(identity, nonce, facts, my_uid, codec)
        self._spawn_secrets = spawn_secrets
        # Taken before this side says anything: a child dials again after what it has heard, not before.
        self._attempt = spawn_secrets.attempt()
        self._tokens = tokens or ClientTokens()

    def on_hello(self, frame: Buffer) -> None:
        """Check who is calling."""
        self._step(_State.NEW, _State.GREETED)
        hello = self._take(frame, Hello)
        self._check_hello(hello)
        self._codec_name = self._common_codec(hello.codecs, self.identity.codecs)
        self._aid = hello.aid
        self._transcript = Transcript(PROTOCOL, hello.nonce, self.nonce, bytes(frame), self._my_hello)

    def hello(self) -> bytes:
        """The frame that answers the dialler's Hello."""
        self._step(_State.GREETED, _State.ANSWERED)
        return self._my_hello

    def on_auth(self, frame: Buffer) -> tuple[bytes, Peer]:
        """Check the dialler's proof; the frame with this side's, and who the dialler is."""
        self._step(_State.ANSWERED, _State.DONE)
        auth = self._take(frame, Auth)
        if auth.method == "peercred":
            answer = self._accept_peercred()
        elif auth.method == "certificate":
            answer = self._accept_certificate()
        elif auth.method == "key":
            answer = self._accept_proof(auth, self.identity.key)
        elif auth.method == "spawn":
            answer = self._accept_spawned(auth)
        elif auth.method == "token":
            answer = self._accept_client(auth)
        else:
            self._refuse(f"unknown method {_printable(auth.method)!r}")
        role = _role(auth.method)
        attempt = self._attempt if auth.method == "spawn" else 0
        peer = Peer(self._aid, self._codec_name, role, auth.method, self.facts, self._bounds, attempt)
        return self.codec.encode(answer), peer

    def _accept_peercred(self) -> Auth:
        if self.identity.key_explicit:
            self._refuse("an explicit auth_key is demanded here, kernel credentials do not replace it")
        if not self._kernel_proved:
            self._refuse("the kernel does not say that the dialler is the same user")
        return Auth("peercred")

    def _accept_certificate(self) -> Auth:
        if self.identity.key_explicit:
            self._refuse("an explicit auth_key is demanded here, certificates do not replace it")
        if not self._certified:
            self._refuse("no certificates were exchanged on this connection")
        return Auth("certificate")

    def _accept_spawned(self, auth: Auth) -> Auth:
        uuid = self._aid.uuid
        # An unknown uuid is checked against a random secret: same answer, same time. A known one is not used
        # up by that: a child whose patience ended before this answer dials again, and proves itself anew.
        return self._accept_proof(auth, self._spawn_secrets.get(uuid) or secrets.token_bytes(32))

    def _accept_client(self, auth: Auth) -> Auth:
        if not self._tokens:
            self._refuse("clients are not admitted here (auth_tokens= names them)")
        found = self._tokens.owner(auth.mac, self._transcript)
        if found is None:
            self._refuse("the dialler does not hold a token that is known here")
        token, name = found
        # Nothing of what it says of itself is believed: under the uuid of an actor it would get its calls.
        self._aid = Aid(name, str(uuid4()))
        return Auth("token", make_proof(token, "acceptor", "token", self._transcript))

    def _accept_proof(self, auth: Auth, secret: bytes) -> Auth:
        if not check_proof(auth.mac, secret, "dialler", auth.method, self._transcript):
            self._refuse("the dialler does not hold the key")
        return Auth(auth.method, make_proof(secret, "acceptor", auth.method, self._transcript))


def _role(method: str) -> Literal["tree", "client"]:
    return "client" if method == "token" else "tree"


def _aid_fault(aid: Aid) -> str | None:
    """What is wrong with an identity, if anything: it ends up in logs, tables and process titles."""
    if not 0 < len(aid.name) <= MAX_NAME or not aid.name.isprintable():
        return f"name is not 1 to {MAX_NAME} printable characters"
    if not 0 < len(aid.uuid) <= _MAX_UUID or not (aid.uuid.isascii() and aid.uuid.isprintable()):
        return f"uuid is not 1 to {_MAX_UUID} printable ASCII characters"
    if aid.pid < 0:
        return "pid is negative"
    return None


def _printable(text: str) -> str:
    """A peer's text made fit for a log line: bounded, and without control characters."""
    clipped = text[:_MAX_REASON]
    return "".join(c if c.isprintable() else "?" for c in clipped) + ("…" if len(text) > _MAX_REASON else "")
