"""Exceptions to boxed descriptions and back.

Boxing never raises, whatever the exception does; unboxing never runs anything that the description
names. An error that crosses several actors keeps what its origin said about it, and gains one entry
of ``relay_path`` per crossing.
"""

from __future__ import annotations

import os
import sys
import traceback as tracebacks
from types import ModuleType
from typing import Any, TypeVar

import msgspec

from tractor_core.errors import (
    ActorDied,
    AuthenticationFailed,
    ContextCancelled,
    ModuleNotExposed,
    MsgTypeError,
    RemoteActorError,
    StreamOverrun,
    TractorError,
    TransportClosed,
    Uid,
)

from .namespace import MAIN, MP_MAIN, public_module
from .paths import describe
from .types import Aid, BoxedError

#: Longest text of one field, and of all together (characters): a boxed error stays far below a frame.
FIELD_LIMIT = 64 * 1024
TEXT_LIMIT = 1024 * 1024

#: Exceptions described in one box at most: members of groups and causes count.
NODE_LIMIT = 256

#: How deep groups and causes may be nested, and how many notes are kept.
DEPTH_LIMIT = 32
NOTES_LIMIT = 64

_RELAYED = "tractor_core.errors:RemoteActorError"

#: What a receiver raises as the class itself, by ``BoxedError.kind``. The most special first.
_KINDS: dict[str, type[TractorError]] = {
    "cancelled": ContextCancelled,
    "msgtype": MsgTypeError,
    "overrun": StreamOverrun,
    "notexposed": ModuleNotExposed,
    "auth": AuthenticationFailed,
}

_NEVER_BUILT = (SystemExit, KeyboardInterrupt, GeneratorExit)

_ErrorT = TypeVar("_ErrorT", bound=BaseException)


def of_runtime(error: _ErrorT, dialog: object) -> _ErrorT:
    """Note that ``error`` is what this actor's runtime says in ``dialog``, and return it.

    There, and nowhere else, the peer then raises it as the class it is. All other errors are those of user
    code, whoever has made them: a runtime may refuse that very code something.
    """
    if isinstance(error, TractorError):
        error._dialog = dialog
    return error


def box(exc: BaseException, uid: Uid, *, dialog: object = None, traceback: bool = True) -> BoxedError:
    """Describe ``exc``, as it leaves the actor ``uid``. Never raises.

    An error that came from another actor is relayed: its description is kept, ``uid`` is appended to its
    ``relay_path``, and its type becomes ``RemoteActorError``. What this actor's runtime says in ``dialog``
    itself (:func:`of_runtime`) has a ``kind``. ``traceback=False`` leaves out the formatted traceback.
    """
    try:
        return _Boxer((str(uid[0]), str(uid[1])), dialog, traceback).box(exc, 0)
    except Exception:
        name = _type_name(type(exc))
        text = "(its description failed)"
        return BoxedError(name, text, name, relay_path=[(_text(uid[0], 200), _text(uid[1], 200))])


def unbox(boxed: BoxedError, hop_uid: Uid | None = None) -> TractorError:
    """The exception to raise here for ``boxed``.

    ``RemoteActorError``, or for what a peer's runtime says (``kind``) its own class. ``hop_uid`` is
    the actor that sent it, for peers that leave ``relay_path`` empty.
    """
    return _unbox(boxed, hop_uid, 0)


def resolve_type(name: str) -> type[BaseException] | None:
    """The exception class ``module:name``, if this process has imported it at the top of that module.

    Never imports, calls or fetches attributes: the name comes from a peer. ``SystemExit``,
    ``KeyboardInterrupt`` and ``GeneratorExit`` are not resolved.
    """
    module_name, _, qualname = name.partition(":")
    for candidate in (MAIN, MP_MAIN) if module_name == MAIN else (module_name,):
        module = sys.modules.get(candidate)
        if module is None or not issubclass(type(module), ModuleType):
            continue
        # Not vars(module): a lazily loaded module would run its code on that.
        found: Any = object.__getattribute__(module, "__dict__").get(qualname)
        if not issubclass(type(found), type) or BaseException not in type.mro(found):
            continue
        kind: type[BaseException] = found
        if not issubclass(kind, _NEVER_BUILT) and _type_name(kind) == name:
            return kind
    return None


def brief(boxed: BoxedError) -> BoxedError:
    """What is left of a description for a peer that takes little: who, what and of which kind."""
    return BoxedError(
        _text(boxed.type_name, 200),
        _text(boxed.message, 200),
        _text(boxed.src_type_name, 200),
        relay_path=boxed.relay_path[:4],
        notes=["the rest of this error was too large for the channel"],
        kind=boxed.kind,
        canceller=boxed.canceller,
    )


def without_tracebacks(boxed: BoxedError) -> BoxedError:
    """The same error, for a peer that is not to see where in the program it and its causes were raised."""
    return _without_tracebacks(boxed, 0)


class _Boxer:
    """Describes one exception with all that hangs on it, within limits."""

    def __init__(self, uid: Uid, dialog: object, with_traceback: bool) -> None:
        self.uid = uid
        self.dialog = dialog
        self.with_traceback = with_traceback
        self.nodes = NODE_LIMIT
        self.room = TEXT_LIMIT

    def box(self, exc: BaseException, depth: int) -> BoxedError:
        self.nodes -= 1
        boxed = getattr(exc, "boxed", None) if isinstance(exc, TractorError) else None
        if isinstance(boxed, BoxedError):
            path = [*boxed.relay_path, self.uid]
            notes = [*boxed.notes, *self._notes(exc)][:NOTES_LIMIT]
            return msgspec.structs.replace(boxed, type_name=_RELAYED, kind="", relay_path=path, notes=notes)
        name = _type_name(type(exc))
        described = BoxedError(
            name,
            self._cut(_message(exc)),
            name,
            relay_path=[self.uid],
            traceback=self._cut(_formatted(exc)) if self.with_traceback else "",
            notes=self._notes(exc),
            args=_encoded_args(exc),
        )
        if isinstance(exc, TractorError):
            if self.dialog is not None and exc._dialog is self.dialog:
                described.kind = _kind_of(exc)
            _add_details(described, exc)
        if isinstance(exc, BaseExceptionGroup):
            described.members = [
                self.box(member, depth + 1) for member in exc.exceptions if self._may_descend(depth)
            ]
            left_out = len(exc.exceptions) - len(described.members)
            if left_out:
                described.notes = [*described.notes, f"{left_out} of the group's members are left out"]
        if exc.__cause__ is not None and self._may_descend(depth):
            described.cause = self.box(exc.__cause__, depth + 1)
        return described

    def _may_descend(self, depth: int) -> bool:
        return self.nodes > 0 and depth < DEPTH_LIMIT

    def _notes(self, exc: BaseException) -> list[str]:
        notes = getattr(exc, "__notes__", ())
        if not isinstance(notes, (list, tuple)):
            return []
        return [self._cut(note) for note in notes[:NOTES_LIMIT] if isinstance(note, str)]

    def _cut(self, text: str) -> str:
        text = _text(text, min(FIELD_LIMIT, self.room))
        self.room -= len(text)
        return text


def _kind_of(exc: TractorError) -> str:
    return next((kind for kind, of_kind in _KINDS.items() if isinstance(exc, of_kind)), "")


def _add_details(boxed: BoxedError, exc: TractorError) -> None:
    if isinstance(exc, ContextCancelled) and exc.canceller is not None:
        boxed.canceller = (str(exc.canceller[0]), str(exc.canceller[1]))
    if isinstance(exc, MsgTypeError):
        boxed.path = _text(exc.path, 1000)
        expected = exc.expected_msg_type
        if expected is not None:
            named = expected.__qualname__ if type(expected) is type else describe(expected)
            boxed.expected = _text(expected if isinstance(expected, str) else named, 1000)
        if exc.bad_msg is not None or exc._bad_known:
            boxed.bad = _text(exc.bad_msg if isinstance(exc.bad_msg, str) else describe(exc.bad_msg), 1000)


def _message(exc: BaseException) -> str:
    try:
        if isinstance(exc, RemoteActorError):
            return exc.message
        if isinstance(exc, ActorDied):
            return TransportClosed.__str__(exc)  # its last words are in the formatted traceback
        return str(exc)
    except Exception:
        return f"<{type(exc).__qualname__}, whose str() fails>"


def _formatted(exc: BaseException) -> str:
    try:
        return "".join(tracebacks.format_exception(exc))
    except Exception:
        return ""


def _encoded_args(exc: BaseException) -> bytes:
    try:
        args = _arguments(exc)
        try:
            encoded = msgspec.msgpack.encode(args)
        except Exception:
            encoded = msgspec.msgpack.encode([_encodable(argument) for argument in args])
        return encoded if len(encoded) <= FIELD_LIMIT else b""
    except Exception:
        return b""


def _arguments(exc: BaseException) -> tuple[Any, ...]:
    """What its class was called with, as far as that can be told."""
    if isinstance(exc, BaseExceptionGroup):
        return exc.args[:1]  # its members are described on their own; its message is not what str() gives
    if isinstance(exc, OSError):
        # Its file names are not among its ``args``; only what it says for pickle has them.
        args: tuple[Any, ...] = OSError.__reduce__(exc)[1]  # type: ignore[assignment]
        return tuple(os.fspath(each) if isinstance(each, os.PathLike) else each for each in args)
    return exc.args


def _encodable(argument: Any) -> Any:
    """The argument itself, or text in its place."""
    try:
        msgspec.msgpack.encode(argument)
    except Exception:
        return _text(argument if isinstance(argument, str) else describe(argument), FIELD_LIMIT)
    return argument


def _type_name(kind: type[BaseException]) -> str:
    return _text(f"{public_module(str(kind.__module__))}:{kind.__qualname__}", 1000)


def _text(value: object, limit: int) -> str:
    """Text that UTF-8 can encode, its middle left out where it is over ``limit`` characters."""
    text = str(value)
    if len(text) > limit:
        half = max(0, limit // 2 - 20)
        text = f"{text[:half]}\n... left out ...\n{text[len(text) - half :]}"[:limit]
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _unbox(boxed: BoxedError, hop_uid: Uid | None, depth: int) -> TractorError:
    path: tuple[Uid, ...] = tuple(boxed.relay_path) or ((hop_uid,) if hop_uid is not None else ())
    details: dict[str, Any] = {
        "boxed_type": resolve_type(boxed.type_name),
        "boxed_type_str": _short_name(boxed.type_name),
        "src_type": resolve_type(boxed.src_type_name) or RemoteActorError,
        "src_type_str": _short_name(boxed.src_type_name),
        "relay_path": path,
        "tb_str": boxed.traceback,
        "boxed": boxed,
    }
    error = _build(boxed, details)
    error.boxed = boxed
    if isinstance(error, RemoteActorError) and path:
        error.src_aid, error.relay_aid = Aid(*path[0]), Aid(*path[-1])
    if isinstance(error, RemoteActorError) and boxed.canceller is not None:
        error._canceller_aid = Aid(*boxed.canceller)
    if depth < DEPTH_LIMIT:
        if isinstance(error, RemoteActorError):
            error.members = tuple(_unbox(member, hop_uid, depth + 1) for member in boxed.members)
        if boxed.cause is not None:
            error.__cause__ = _unbox(boxed.cause, hop_uid, depth + 1)
    return error


def _build(boxed: BoxedError, details: dict[str, Any]) -> TractorError:
    match boxed.kind:
        case "cancelled":
            return ContextCancelled(boxed.message, canceller=boxed.canceller, **details)
        case "msgtype":
            return MsgTypeError(
                boxed.message, path=boxed.path, expected_msg_type=boxed.expected, bad_msg=boxed.bad, **details
            )
        case "overrun":
            return StreamOverrun(boxed.message, **details)
        case "notexposed":
            return ModuleNotExposed(boxed.message)
        case "auth":
            return AuthenticationFailed(boxed.message)
        case _:
            return RemoteActorError(boxed.message, **details)


def _without_tracebacks(boxed: BoxedError, depth: int) -> BoxedError:
    within = depth < DEPTH_LIMIT  # a relayed description was made by another actor
    cause = boxed.cause
    return msgspec.structs.replace(
        boxed,
        traceback="",
        members=[_without_tracebacks(member, depth + 1) for member in boxed.members] if within else [],
        cause=_without_tracebacks(cause, depth + 1) if cause is not None and within else None,
    )


def _short_name(name: str) -> str:
    return name.partition(":")[2] or name


__all__ = ["box", "of_runtime", "resolve_type", "unbox"]
