"""What an actor lets its peers call: a table built when modules are enabled, and nothing else.

A name from the wire is looked up in that table only; no attribute is ever fetched by it.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Iterable, Iterator
from inspect import isasyncgenfunction, iscoroutinefunction
from types import FunctionType, ModuleType
from typing import Any, TypeVar

from tractor_core.errors import ModuleNotExposed

from .codec import MsgCodec
from .namespace import MAIN, Functype, context_mark, functype_of, public_module, target_of
from .signature import CodedSignature, Signature, SignatureCache

_CLIENTS_MARK = "__tractor_clients__"

_F = TypeVar("_F", bound="Callable[..., Any]")

#: How many names an error lists, at most.
_LISTED = 10


def expose(*, clients: bool) -> Callable[[_F], _F]:
    """Mark a function: with ``clients=True`` peers that proved no more than a token may call it too.

    It must still be exposed, through ``enable_modules``. Goes above or below ``@context``.
    """

    def mark(function: _F) -> _F:
        setattr(function, _CLIENTS_MARK, clients)
        return function

    return mark


class Endpoint:
    """A function that peers may call.

    ``target`` is its name on the wire, ``clients`` whether peers of role "client" may call it too.
    """

    __slots__ = (
        "_codec", "_coded", "_signature", "_signatures", "clients", "fn", "functype", "target", "told",
    )  # fmt: skip

    _coded: CodedSignature

    def __init__(self, target: str, fn: Callable[..., Any], signatures: SignatureCache) -> None:
        self.target = target
        self.fn = fn
        self.functype: Functype = functype_of(fn)
        #: Whether the log knows which of its annotations are not checked.
        self.told = False
        self.clients = bool(getattr(fn, _CLIENTS_MARK, False))
        self._signatures = signatures
        self._signature: Signature | None = None
        #: The codec that ``_coded`` is by, which was the last one.
        self._codec: MsgCodec | None = None

    @property
    def signature(self) -> Signature:
        """How its arguments and result are decoded; built when first asked for."""
        if self._signature is None:
            self._signature = self._signatures.get(self.fn)
        return self._signature

    def signature_by(self, codec: MsgCodec) -> CodedSignature:
        """The signature in the eyes of one codec."""
        if codec is not self._codec:
            self._codec, self._coded = codec, self.signature.by(codec)
        return self._coded

    @property
    def context_parameter(self) -> str | None:
        """The parameter that takes the ``Context``, for a ``@context`` function."""
        mark = context_mark(self.fn)
        return None if mark is None else mark.parameter

    def __repr__(self) -> str:
        return f"<Endpoint {self.target} {self.functype}>"


class Exposed:
    """The functions an actor exposes, by target (``module:name``).

    Of a module: the async functions, async generator functions and ``@context`` functions that are
    *defined in it* and whose names do not begin with an underscore, and what its ``__all__`` names
    besides. Nothing that it merely imported.
    """

    def __init__(
        self,
        modules: Iterable[str | ModuleType] = (),
        functions: Iterable[Callable[..., Any]] = (),
        *,
        signatures: SignatureCache | None = None,
    ) -> None:
        #: Shared with the calling side, which needs the signatures of what it calls.
        self.signatures = SignatureCache() if signatures is None else signatures
        self._modules: set[str] = set()
        self._endpoints: dict[str, Endpoint] = {}
        for module in modules:
            self.add_module(module)
        for function in functions:
            self.add_function(function)

    @property
    def modules(self) -> frozenset[str]:
        """The modules enabled as a whole, by the names peers know."""
        return frozenset(self._modules)

    def add_module(self, module: str | ModuleType) -> None:
        """Expose a module, importing it when it is given by name; import errors pass through."""
        if isinstance(module, str):
            module = importlib.import_module(module)
        name = public_module(module.__name__)
        names: dict[str, Any] = vars(module)
        listed = {item for item in names.get("__all__", ()) if isinstance(item, str)}
        self._modules.add(name)
        aliases: dict[str, Any] = {}
        for key, value in list(names.items()):
            if not _is_endpoint(value):
                continue
            if key in listed or (not key.startswith("_") and public_module(value.__module__ or "") == name):
                self._add(f"{name}:{key}", value)
                aliases[_own_target(value)] = value
        for target, value in aliases.items():
            # A caller names a re-exported function by where it was defined.
            if target and target not in self._endpoints:
                self._add(target, value)

    def add_function(self, function: Callable[..., Any]) -> None:
        """Expose one function, whatever its name; ``TypeError`` for what a peer cannot call."""
        self._add(target_of(function), function)

    def lookup(self, target: str) -> Endpoint:
        """The endpoint of that name; ``ModuleNotExposed`` saying what there is instead."""
        endpoint = self._endpoints.get(target)
        if endpoint is None:
            endpoint = self._endpoints.get(_canonical(target))
            if endpoint is None:
                raise ModuleNotExposed(self._explain(_canonical(target)))
        return endpoint

    def __contains__(self, target: object) -> bool:
        return isinstance(target, str) and _canonical(target) in self._endpoints

    def __iter__(self) -> Iterator[Endpoint]:
        return iter(list(self._endpoints.values()))

    def __len__(self) -> int:
        return len(self._endpoints)

    def _add(self, target: str, function: Callable[..., Any]) -> None:
        self._endpoints[target] = Endpoint(target, function, self.signatures)

    def _explain(self, target: str) -> str:
        module, colon, name = target[:400].partition(":")
        if not (module and colon and name):
            return f"{target[:400]!r} is not of the form 'module:name'"
        known = sorted(key for key in self._endpoints if key.partition(":")[0] == module)
        near = difflib.get_close_matches(f"{module}:{name}", self._endpoints, n=3)
        if module in self._modules:
            text = f"module {module!r} is exposed, but has no endpoint {name!r}"
            hint = "; an endpoint is an async function defined in the module, or named in its __all__"
        elif known:
            text, hint = f"of module {module!r} only single functions are exposed, not {name!r}", ""
        else:
            text, hint = f"module {module!r} is not exposed", "; pass it in enable_modules"
            if module == MAIN:
                hint = (
                    "; '__main__' is the script a program was started with, so a peer started from another "
                    "one does not have it: put the function into a module that both import"
                )
        there = _listing("did you mean", near) or _listing("it has", known)
        return text + (there or _listing("exposed modules:", sorted(self._modules))) + hint


def _canonical(target: str) -> str:
    module, colon, name = target.partition(":")
    return f"{public_module(module)}{colon}{name}"


def _is_endpoint(value: Any) -> bool:
    # The type first: asking any object for attributes may run code.
    return type(value) is FunctionType and (iscoroutinefunction(value) or isasyncgenfunction(value))


def _own_target(function: Callable[..., Any]) -> str:
    """The name by which a caller asks for the function, empty where it has none."""
    try:
        return target_of(function)
    except TypeError:
        return ""


def _listing(label: str, names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"; {label} {', '.join(names[:_LISTED])}{more}"


__all__ = ["Endpoint", "Exposed", "expose"]
