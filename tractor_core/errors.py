"""Every exception a user can catch. A leaf room: it imports trio and the standard library only.

Whose fault an error is shows in its class: misuse of the API is a builtin (``TypeError``,
``ValueError``, ``RuntimeError``); what a peer's code raised is :class:`RemoteActorError`; what a
peer's runtime refused has a class of its own; a path that broke is :class:`TransportClosed`.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import trio

#: The legacy identity pair of an actor: (name, uuid).
Uid: TypeAlias = tuple[str, str]

#: Stands for an offending value that is not known: None may be one.
_UNKNOWN: Any = object()


class TractorError(Exception):
    """Base of what this package defines, so that it can be caught as a whole."""

    #: The ``BoxedError`` this was made from, where it came from another actor.
    boxed: Any = None

    #: The dialog in which this actor's own runtime says this: see ``of_runtime`` in ``msg.boxing``.
    _dialog: Any = None


class NoRuntime(TractorError, RuntimeError):
    """There is no actor runtime in this task tree."""


class InternalError(TractorError, RuntimeError):
    """A bug in the runtime; please report it with the traceback."""


class PluginError(TractorError):
    """A transport, spawn backend or hook plugin cannot be used; says who provides it and why."""


class AuthenticationFailed(TractorError):
    """One side of a new channel did not prove that it holds the key; says which side refused."""


class ModuleNotExposed(TractorError, ModuleNotFoundError):
    """The peer does not expose the module or function that was called."""


class MsgTooLarge(TractorError, ValueError):
    """A message over ``Limits.max_payload``; nothing was sent. Sizes are in bytes."""

    def __init__(self, message: str, *, size: int = 0, limit: int = 0) -> None:
        super().__init__(message)
        self.size = size
        self.limit = limit


class TransportClosed(TractorError, trio.BrokenResourceError):
    """The path to the peer is gone; ``src_exc`` is what the operating system or library said."""

    def __init__(self, message: str = "channel closed", *, src_exc: BaseException | None = None) -> None:
        super().__init__(message)
        self.src_exc = src_exc


class FrameTooLarge(TransportClosed):
    """The peer announced a frame over the limit; none of its body was read."""


class ActorDied(TransportClosed):
    """The peer's process ended unasked.

    ``exit_status`` is an ``ExitStatus`` where this actor is the parent, ``uid`` the dead actor's, and
    ``last_words`` the last lines that it wrote to its standard error, and where it was if it crashed.
    """

    def __init__(
        self,
        message: str,
        *,
        uid: Uid | None = None,
        exit_status: Any = None,
        last_words: str = "",
        src_exc: BaseException | None = None,
    ) -> None:
        super().__init__(message, src_exc=src_exc)
        self.uid = uid
        self.exit_status = exit_status
        self.last_words = last_words

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message}\n{self.pformat()}" if self.last_words else message

    def pformat(self) -> str:
        """The last words in a box; empty where there are none."""
        if not self.last_words:
            return ""
        body = "\n".join(f"│ {line}" for line in self.last_words.splitlines())
        return f"┌─ its last words\n{body}\n└─"


class ActorTooSlowError(TractorError, trio.TooSlowError):
    """A peer did not acknowledge a request in the time given."""


class RemoteActorError(TractorError):
    """An error raised in another actor, boxed.

    ``boxed_type`` is what the last hop raised (``RemoteActorError`` itself when it only relayed),
    ``src_type`` what the origin raised; either is ``RemoteActorError`` when the class is not known
    here, and the name stays in ``boxed_type_str`` / ``src_type_str``. ``relay_path`` lists the uid
    of every actor crossed, the origin first. ``src_aid`` and ``relay_aid`` are the ``Aid`` of the first and
    the last of them, whose process ids are not known here.
    """

    src_aid: Any = None
    relay_aid: Any = None
    _canceller_aid: Any = None

    def __init__(
        self,
        message: str,
        *,
        boxed_type: type[BaseException] | None = None,
        boxed_type_str: str = "",
        src_type: type[BaseException] | None = None,
        src_type_str: str = "",
        relay_path: tuple[Uid, ...] = (),
        tb_str: str = "",
        boxed: Any = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.boxed_type: type[BaseException] = boxed_type or RemoteActorError
        self.boxed_type_str = boxed_type_str or self.boxed_type.__name__
        self.src_type: type[BaseException] = src_type or self.boxed_type
        self.src_type_str = src_type_str or self.boxed_type_str
        self.relay_path = relay_path
        self.tb_str = tb_str
        #: The ``BoxedError`` struct this was made from, complete, so that relaying loses nothing.
        self.boxed = boxed
        #: What was in the group, where the original was an exception group.
        self.members: tuple[TractorError, ...] = ()

    @property
    def src_uid(self) -> Uid | None:
        """The actor in which the error was raised."""
        return self.relay_path[0] if self.relay_path else None

    @property
    def relay_uid(self) -> Uid | None:
        """The actor that handed it to this one."""
        return self.relay_path[-1] if self.relay_path else None

    @property
    def sender(self) -> Uid | None:
        """The same as ``relay_uid``: whose message carried the error."""
        return self.relay_uid

    @property
    def ipc_msg(self) -> Any:
        """The boxed error as it came over the wire."""
        return self.boxed

    @property
    def notes(self) -> tuple[str, ...]:
        """The notes that were on the original exception (``BaseException.add_note``)."""
        return tuple(self.boxed.notes) if self.boxed is not None else ()

    def is_inception(self) -> bool:
        """Whether this was relayed: what was boxed was itself a boxed error."""
        return issubclass(self.boxed_type, RemoteActorError) and len(self.relay_path) > 1

    def unwrap(self) -> BaseException:
        """An instance of the original exception, or ``self`` where none can be built safely.

        It has the original's arguments, with their ``repr()`` in place of those that cannot be sent.
        Only exception classes that this process had already imported are built, never
        ``SystemExit``, ``KeyboardInterrupt`` or ``GeneratorExit``; nothing is imported and no
        other code named on the wire is run.
        """
        if self.src_type is RemoteActorError or self.boxed is None:
            return self
        try:
            arguments = self.boxed.decode_args()
            if arguments is None:
                arguments = [self.boxed.message]
            if issubclass(self.src_type, BaseExceptionGroup):
                original = self._unwrap_group(self.src_type, str(arguments[0]))
            else:
                original = _built(self.src_type, arguments)
        except Exception:
            return self
        if not isinstance(original, self.src_type):
            return self
        for note in self.notes:
            original.add_note(note)
        if isinstance(original, RemoteActorError):
            original._take_facts(self)
        original.__cause__ = self
        return original

    def _take_facts(self, carrier: RemoteActorError) -> None:
        """Know what the boxed description says beyond the arguments of the constructor."""
        self.relay_path = carrier.relay_path
        self.tb_str = carrier.tb_str
        self.src_aid, self.relay_aid = carrier.src_aid, carrier.relay_aid
        self._canceller_aid = carrier._canceller_aid

    def _unwrap_group(self, kind: type[BaseException], message: str) -> BaseException:
        members = [
            member.unwrap() if isinstance(member, RemoteActorError) else member for member in self.members
        ]
        return kind(message, members)

    def pformat(self) -> str:
        """The remote traceback in a box, headed by where it came from."""
        path = " <- ".join(f"{name}@{uuid[:8]}" for name, uuid in self.relay_path) or "?"
        lines = [f"raised in {path}", *(self.tb_str or self.message).rstrip().splitlines()]
        body = "\n".join(f"│ {line}" for line in lines)
        return f"┌─ {self.boxed_type_str}\n{body}\n└─"

    def __str__(self) -> str:
        where = f" (in actor {self.src_uid[0]!r})" if self.src_uid else ""
        text = f"{self.src_type_str}: {self.message}{where}" if self.src_type_str else self.message
        return f"{text}\n{self.pformat()}" if self.tb_str else text


def _built(kind: type[BaseException], arguments: list[Any]) -> BaseException:
    try:
        return kind(*arguments)
    except TypeError:
        if not issubclass(kind, OSError) or len(arguments) <= 2:
            raise
        # A constructor of its own that takes no file name, which came with the arguments.
        return kind(*arguments[:2])


class ContextCancelled(RemoteActorError):
    """A remote task was cancelled; ``canceller`` is the uid of the actor that asked for it."""

    def __init__(
        self, message: str = "context cancelled", *, canceller: Uid | None = None, **kwargs: Any
    ) -> None:
        super().__init__(message, **kwargs)
        self.canceller: Uid | None = canceller

    @property
    def canceller_aid(self) -> Any:
        """The canceller's ``Aid``, where this came from another actor; else None."""
        return self._canceller_aid

    def _take_facts(self, carrier: RemoteActorError) -> None:
        super()._take_facts(carrier)
        self.canceller = carrier.boxed.canceller


class MsgTypeError(RemoteActorError, TypeError):
    """A payload did not have the type its contract or signature says.

    ``path`` names the place inside the value (``$.rows[3].id``), ``bad_msg`` is the offending
    value, or from another actor its description, and ``expected_msg_type`` the type it should have had.
    """

    def __init__(
        self,
        message: str,
        *,
        bad_msg: Any = _UNKNOWN,
        expected_msg_type: Any = None,
        path: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(message, **kwargs)
        self.bad_msg: Any = None if bad_msg is _UNKNOWN else bad_msg
        #: Whether that None is the value.
        self._bad_known = bad_msg is not _UNKNOWN
        self.expected_msg_type: Any = expected_msg_type
        self.path: str = path

    def _take_facts(self, carrier: RemoteActorError) -> None:
        super()._take_facts(carrier)
        boxed = carrier.boxed
        self.path, self.bad_msg, self.expected_msg_type = boxed.path, boxed.bad, boxed.expected


class StreamOverrun(RemoteActorError, trio.TooSlowError):
    """A stream's receiver did not keep up and its policy is ``"raise"``."""


class NoResult:
    """What ``Portal.wait_for_result()`` returns for an actor that has no main task."""


__all__ = [
    "ActorDied",
    "ActorTooSlowError",
    "AuthenticationFailed",
    "ContextCancelled",
    "FrameTooLarge",
    "InternalError",
    "ModuleNotExposed",
    "MsgTooLarge",
    "MsgTypeError",
    "NoResult",
    "NoRuntime",
    "PluginError",
    "RemoteActorError",
    "StreamOverrun",
    "TractorError",
    "TransportClosed",
]
