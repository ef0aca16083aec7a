"""The wire vocabulary: one struct per message. No I/O, no trio.

Structs are encoded as arrays headed by a small integer tag. Payload fields are declared
``msgspec.Raw``: a *received* message holds the undecoded payload, which only the dialog it belongs
to decodes. A message *to be sent* may hold the plain value there (structs do not check their
fields), so that one pass encodes envelope and payload.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec
from msgspec import Raw

from tractor_core.seams import TLSConfig

from .extension import ExtNames

#: What both sides must speak.
PROTOCOL = "tractor-core/1"

#: ``cid`` of a message about the whole runtime instead of one dialog.
RUNTIME_CID = -1


class Aid(msgspec.Struct, array_like=True, frozen=True, eq=False):
    """An actor's identity. Equality and hash go by uuid."""

    name: str
    uuid: str
    pid: int = 0
    is_registrar: bool = False

    @property
    def uid(self) -> tuple[str, str]:
        """The legacy pair ``(name, uuid)``."""
        return (self.name, self.uuid)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Aid) and other.uuid == self.uuid

    def __hash__(self) -> int:
        return hash(self.uuid)

    def __str__(self) -> str:
        return f"{self.name}@{self.uuid[:8]}"


class BoxedError(msgspec.Struct, array_like=True, omit_defaults=True):
    """An exception, described. ``relay_path`` holds (name, uuid), the origin first."""

    #: ``module:qualname`` of what the last hop raised, and of what the origin raised.
    type_name: str
    message: str
    src_type_name: str
    relay_path: list[tuple[str, str]] = []
    traceback: str = ""
    notes: list[str] = []
    #: msgpack of the exception's arguments, with text for those that cannot be encoded; empty if too long.
    args: bytes = b""
    #: Members of an exception group; ``type_name`` is then the group's own.
    members: list[BoxedError] = []
    cause: BoxedError | None = None
    #: What the sender's runtime says itself, which the receiver raises as a class of its own; else "".
    kind: str = ""
    #: Of a ``ContextCancelled``: who asked.
    canceller: tuple[str, str] | None = None
    #: Of a ``MsgTypeError``: where in the value, what was expected, what was there.
    path: str = ""
    expected: str = ""
    bad: str = ""

    def decode_args(self) -> list[Any] | None:
        """The original arguments, or None where there are none to read."""
        return msgspec.msgpack.decode(self.args) if self.args else None


class Bounds(msgspec.Struct, array_like=True, frozen=True):
    """What the sender of a ``Hello`` takes at most (bytes); 0 where it does not say."""

    #: One frame.
    max_frame: int = 0
    #: One message, put together from its chunks.
    max_payload: int = 0
    #: Unfinished messages, the largest not counted.
    max_buffered: int = 0
    #: Memory of the other side's, in which that lends messages; 0 where it takes none.
    max_shared: int = 0


UNSAID = Bounds()


class Message(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Base of everything that is sent as a frame."""


class Hello(Message, frozen=True, tag=1):
    """Who I am and what I speak; first on every connection, both ways."""

    aid: Aid
    protocol: str
    codecs: list[str]
    nonce: bytes
    #: What I take at most, once we know each other.
    bounds: Bounds = UNSAID


class Auth(Message, frozen=True, tag=2):
    """Proof that the sender of the Hello may be here.

    ``method`` is "key", "spawn", "token", "peercred" or "certificate".
    """

    method: str
    mac: bytes = b""


class SpawnSpec(Message, frozen=True, tag=3):
    """Parent to child, once: how to configure itself. ``spec`` is an encoded ``ActorSpec``."""

    spec: Raw


class Ready(Message, frozen=True, tag=4):
    """Child to parent: configured, listening on these URLs, registered."""

    addresses: list[str]


class Start(Message, frozen=True, tag=5):
    """Please run ``target`` (``module:name``, or ``self:name`` for the runtime's own)."""

    cid: int
    target: str
    #: "asyncfunc", "asyncgen" or "context".
    functype: str
    args: Raw
    kwargs: Raw


class StartAck(Message, frozen=True, tag=6):
    """Scheduled. Implied by any later message of the callee, and left out where one follows at once."""

    cid: int
    functype: str


class PayloadMsg(Message, frozen=True):
    """Base of the messages that carry a user's value."""

    cid: int
    pld: Raw


class Started(PayloadMsg, frozen=True, tag=7):
    """The value of ``ctx.started()``."""


class Yield(PayloadMsg, frozen=True, tag=8):
    """One streamed value."""


class Return(PayloadMsg, frozen=True, tag=9):
    """The final result."""


class Stop(Message, frozen=True, tag=10):
    """Graceful end of the sender's half of the stream."""

    cid: int


class Error(Message, frozen=True, tag=11):
    """The sender's side ended with an error."""

    cid: int
    error: BoxedError


class Cancel(Message, frozen=True, tag=12):
    """Please cancel dialog ``cid``; with ``runtime`` set, the whole actor.

    ``cid`` then only names the answer.
    """

    cid: int
    canceller: tuple[str, str]
    reason: str = ""
    #: Seconds the requester will wait before it uses force; None: no limit.
    time_left: float | None = None
    runtime: bool = False


class CancelAck(Message, frozen=True, tag=13):
    """The request was taken (``ok``), or refused."""

    cid: int
    ok: bool = True


class Credit(Message, frozen=True, tag=14):
    """The receiver of a stream grants this much more."""

    cid: int
    messages: int
    size: int


class Open(Message, frozen=True, tag=15):
    """The receiver opened its half: its window (messages, bytes) and overflow policy."""

    cid: int
    messages: int
    size: int
    policy: str


class Chunk(Message, frozen=True, tag=16):
    """A piece of an encoded message too large to go at once. A dialog has one such at a time."""

    cid: int
    last: bool
    data: memoryview
    #: In the first piece: bytes of the whole message; 0 where it is not said, and in all others.
    size: int = 0


class Ping(Message, frozen=True, tag=17):
    """Are you alive?"""

    serial: int


class Pong(Message, frozen=True, tag=18):
    """Answer to a Ping."""

    serial: int


class Invite(Message, frozen=True, tag=19):
    """I would read your large messages in memory of yours: send me its descriptor."""


class Memory(Message, frozen=True, tag=20):
    """The descriptor that comes with this message is of memory of mine, of ``size`` bytes."""

    size: int


class Lend(Message, frozen=True, tag=21):
    """There is a message in my memory."""

    start: int
    size: int


class Release(Message, frozen=True, tag=22):
    """I have read the messages that lay there in your memory."""

    starts: list[int]


MsgType: TypeAlias = (
    Hello
    | Auth
    | SpawnSpec
    | Ready
    | Start
    | StartAck
    | Started
    | Yield
    | Return
    | Stop
    | Error
    | Cancel
    | CancelAck
    | Credit
    | Open
    | Chunk
    | Ping
    | Pong
    | Invite
    | Memory
    | Lend
    | Release
)

Msg: TypeAlias = PayloadMsg

#: Every message, in tag order, and the union of them that a decoder takes.
__msg_types__: tuple[type[Message], ...] = MsgType.__args__
__msg_spec__ = MsgType


class PluginEntry(msgspec.Struct, array_like=True, frozen=True):
    """One row of the resolved plugin table that travels to children."""

    kind: str
    name: str
    target: str
    distribution: str
    version: str


class MainModule(msgspec.Struct, array_like=True, frozen=True):
    """How a child finds the program's ``__main__`` again."""

    name: str | None = None
    path: str | None = None
    sys_path: list[str] = []
    argv: list[str] = []


class ActorSpec(msgspec.Struct, omit_defaults=True):
    """What a new actor must know to configure itself (the contents of ``SpawnSpec``)."""

    enable_modules: list[str]
    #: Functions exposed singly, as ``module:name``.
    enable_functions: list[str] = []
    registry_addrs: list[str] = []
    bind_addrs: list[str] = []
    transports: list[str] = []
    registrar: Aid | None = None
    start_method: str = ""
    loglevel: str | None = None
    runtime_vars: dict[str, Any] = {}
    main: MainModule | None = None
    infect_asyncio: bool = False
    #: How the tree's own types travel, by names that this actor imports as it does modules.
    ext_types: list[ExtNames] = []


class Bootstrap(msgspec.Struct):
    """The blob that reaches a new process through an inherited pipe; it holds secrets."""

    name: str
    uuid: str
    parent: Aid
    parent_addrs: list[str]
    #: Proves to the parent, once, that the dialling process is the one it spawned.
    secret: bytes
    #: The tree's key, and whether it was given explicitly (kernel credentials do not replace it then).
    key: bytes
    key_explicit: bool
    parent_pid: int = 0
    #: Needed before the parent is dialled; paths, so the key itself does not travel.
    tls: TLSConfig | None = None
    #: Where transports and backends are found, without a scan.
    plugins: list[PluginEntry] = []
    #: Those of the parent; not in the ``ActorSpec``, which comes over a channel that has limits already.
    limits: dict[str, Any] = {}
    #: How the parent watches its channels (seconds).
    heartbeat_interval: float | None = None
    heartbeat_timeout: float | None = None
