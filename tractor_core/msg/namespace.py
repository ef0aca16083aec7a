"""Names of functions, as they stand in messages: ``module:name``."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any, Literal, TypeAlias

import msgspec

#: What kind of endpoint a function is.
Functype: TypeAlias = Literal["asyncfunc", "asyncgen", "context"]

#: The script a program was started with, under its usual name and under the one that it has in
#: processes which import it again. On the wire it is always the first.
MAIN = "__main__"
MP_MAIN = "__mp_main__"

_CONTEXT_MARK = "__tractor_context__"


class ContextMark(msgspec.Struct, frozen=True):
    """What ``@context`` leaves on a function, as its attribute ``__tractor_context__``.

    ``parameter`` is the name of the one annotated ``Context``; ``pld_spec`` is the type of every
    payload of the dialog, ``msgspec.UNSET`` where none was given.
    """

    parameter: str
    pld_spec: Any = msgspec.UNSET
    enc_hook: Callable[[Any], Any] | None = None
    dec_hook: Callable[[type, Any], Any] | None = None


class NamespacePath(str):
    """A ``module:qualname`` reference to a Python object; an ordinary string otherwise."""

    __slots__ = ()

    @classmethod
    def from_ref(cls, ref: Any) -> NamespacePath:
        """The path of a class, function or other object that knows its module and name.

        An instance gives the path of its class. ``TypeError`` where there is no such name.
        """
        named = ref if hasattr(ref, "__qualname__") else type(ref)
        module, name = named.__module__, named.__qualname__
        if not module or "<" in name:
            raise TypeError(f"{ref!r} cannot be reached by a module and a name")
        return cls(f"{public_module(module)}:{name}")

    def to_tuple(self) -> tuple[str, str]:
        """``(module, qualname)``; ``ValueError`` where the string is not of that form."""
        module, colon, name = self.partition(":")
        if not (module and colon and name):
            raise ValueError(f"not a 'module:name' path: {str(self)!r}")
        return module, name

    def load_ref(self) -> Any:
        """Import the module and return what the name stands for.

        Runs that module's code, so never call it with a name that came from a peer; the runtime
        itself never does. Raises ``ImportError`` or ``AttributeError``.
        """
        module, name = self.to_tuple()
        return functools.reduce(getattr, name.split("."), importlib.import_module(module))


def public_module(name: str) -> str:
    """The module's name as peers know it."""
    return MAIN if name == MP_MAIN else name


def target_of(function: Callable[..., Any]) -> str:
    """The name under which peers may call ``function``: ``module:name``.

    Only async functions defined at the top level of a module have one; for anything else the
    ``TypeError`` says what is wrong.
    """
    functype_of(function)
    name, module = function.__qualname__, function.__module__
    if "<lambda>" in name or "<locals>" in name:
        raise TypeError(
            f"{name} is defined inside a function; a peer can only find one at the top of a module"
        )
    if "." in name:
        raise TypeError(f"{name} belongs to a class; a peer can only find functions at the top of a module")
    if not module:
        raise TypeError(f"{name} has no module in which a peer could find it")
    there = vars(sys.modules[module]).get(name, function) if module in sys.modules else function
    if there is not function:
        raise TypeError(f"{module}:{name} is not this function but {there!r}; call it by a name of its own")
    return f"{public_module(module)}:{name}"


def functype_of(function: Callable[..., Any]) -> Functype:
    """What kind of endpoint ``function`` is; ``TypeError`` for what is not an async function."""
    if not isinstance(function, FunctionType):
        raise TypeError(_not_a_function(function))
    if inspect.iscoroutinefunction(function):
        return "context" if hasattr(function, _CONTEXT_MARK) else "asyncfunc"
    if inspect.isasyncgenfunction(function):
        return "asyncgen"
    raise TypeError(f"{function.__qualname__} is not an async function; define it with 'async def'")


def context_mark(function: Callable[..., Any]) -> ContextMark | None:
    """What ``@context`` left on the function, or None."""
    mark = getattr(function, _CONTEXT_MARK, None)
    return mark if isinstance(mark, ContextMark) else None


def _not_a_function(thing: Any) -> str:
    if isinstance(thing, functools.partial):
        return f"{thing!r} is a partial; pass the function itself, and the arguments with the call"
    if inspect.ismethod(thing):
        return f"{thing.__qualname__} is a bound method; a peer has no access to the object it is bound to"
    if isinstance(thing, str):
        return f"expected an async function, got the string {thing!r}"
    return f"expected an async function, got {type(thing).__qualname__} {thing!r}"
