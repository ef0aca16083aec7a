"""What a caller has to know of a function of its peer's: found out with the first call."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any
from weakref import WeakKeyDictionary

from tractor_core.ipc.channel import Channel
from tractor_core.msg.codec import MsgCodec, applied_codec
from tractor_core.msg.namespace import Functype, functype_of, target_of
from tractor_core.msg.signature import Signature, SignatureCache

from .payload import result_decoder

_ARTICLES = {
    "asyncfunc": "an async function",
    "asyncgen": "an async generator function",
    "context": "a @context function",
}
_OPENERS = {
    "asyncfunc": "Portal.run()",
    "asyncgen": "Portal.open_stream_from()",
    "context": "Portal.open_context()",
}


class Callee:
    """One function: its ``target`` is its name on the wire. Holds no reference to the function."""

    __slots__ = ("_codec", "_decode", "_module", "_name", "functype", "signature", "target")

    _decode: Callable[[Any], Any]

    def __init__(self, function: Callable[..., Any], signatures: SignatureCache) -> None:
        self.target = target_of(function)
        self.functype = functype_of(function)
        self.signature: Signature = signatures.get(function)
        self._module = function.__module__
        self._name = function.__qualname__
        #: The codec of the last channel; ``_decode`` is how that decodes the function's results.
        self._codec: MsgCodec | None = None

    def names(self, function: Callable[..., Any]) -> bool:
        """Whether ``target`` still is the name of the function it was made of: a module may change."""
        module = sys.modules.get(self._module)
        return module is None or vars(module).get(self._name, function) is function

    def result_decoder(self, channel: Channel) -> Callable[[Any], Any]:
        """What decodes the result of a call in the calling task."""
        if channel.payload_codec is not None or applied_codec() is not None:
            return result_decoder(channel, self.signature)
        codec = channel.codec
        if codec is not self._codec:
            self._codec, self._decode = codec, result_decoder(channel, self.signature)
        return self._decode


class Callees:
    """The functions that an actor has called. (Finding out their names and kinds takes 2.5 us each time.)"""

    def __init__(self, signatures: SignatureCache) -> None:
        self._signatures = signatures
        self._callees: WeakKeyDictionary[Callable[..., Any], Callee] = WeakKeyDictionary()

    def get(self, function: Any, functype: Functype) -> Callee:
        """What there is to know of a function; ``TypeError`` where it is none of kind ``functype``."""
        callee = self._callees.get(function) if type(function) is FunctionType else None
        if callee is None or not callee.names(function):
            callee = Callee(function, self._signatures)
            self._callees[function] = callee
        found = callee.functype
        if found != functype:
            raise TypeError(f"{callee.target} is {_ARTICLES[found]}: use {_OPENERS[found]} for it")
        return callee
