"""The wire vocabulary: message structs, codecs, payload types, names, signatures and boxed errors.

No I/O and no trio; imports :mod:`tractor_core.errors` and msgspec.
"""

from __future__ import annotations

from .codec import MsgCodec, MsgDec, apply_codec, current_codec, limit_plds, mk_codec, mk_dec
from .extension import ExtType
from .namespace import NamespacePath
from .struct import Struct
from .types import (
    Aid,
    Auth,
    BoxedError,
    Cancel,
    CancelAck,
    Chunk,
    Credit,
    Error,
    Hello,
    Message,
    Msg,
    MsgType,
    Open,
    PayloadMsg,
    Ping,
    Pong,
    Ready,
    Return,
    SpawnSpec,
    Start,
    StartAck,
    Started,
    Stop,
    Yield,
    __msg_spec__,
    __msg_types__,
)

__all__ = [
    "Aid",
    "Auth",
    "BoxedError",
    "Cancel",
    "CancelAck",
    "Chunk",
    "Credit",
    "Error",
    "ExtType",
    "Hello",
    "Message",
    "Msg",
    "MsgCodec",
    "MsgDec",
    "MsgType",
    "NamespacePath",
    "Open",
    "PayloadMsg",
    "Ping",
    "Pong",
    "Ready",
    "Return",
    "SpawnSpec",
    "Start",
    "StartAck",
    "Started",
    "Stop",
    "Struct",
    "Yield",
    "__msg_spec__",
    "__msg_types__",
    "apply_codec",
    "current_codec",
    "limit_plds",
    "mk_codec",
    "mk_dec",
]
