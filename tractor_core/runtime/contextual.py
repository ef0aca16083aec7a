"""The ``@context`` decorator: marks a function as the callee's half of a context."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, overload

from msgspec import UNSET

from tractor_core.msg.namespace import ContextMark

from .context import Context

F = TypeVar("F", bound=Callable[..., Coroutine[Any, Any, Any]])
G = TypeVar("G", bound=Callable[..., Any])

@overload
def context(fn: F, /) -> F: ...
@overload
def context(
    *,
    pld_spec: Any = UNSET,
    enc_hook: Callable[[Any], Any] | None = None,
    dec_hook: Callable[[Any, Any], Any] | None = None,
) -> Callable[[F], F]: ...
def context(
    fn: Any = None,
    /,
    *,
    pld_spec: Any = UNSET,
    enc_hook: Callable[[Any], Any] | None = None,
    dec_hook: Callable[[Any, Any], Any] | None = None,
) -> Any:
    """Mark an async function as one that ``Portal.open_context()`` can start.

    It must have one parameter annotated ``Context``, of any name, else ``TypeError``. ``pld_spec`` types every payload of
    the dialog, both ways::

        @tractor.context(pld_spec=int | None)
        async def counter(ctx: tractor.Context, start: int) -> None:
            await ctx.started(start)
    """

    def mark(function: Any) -> Any:
        if not inspect.iscoroutinefunction(function):
            raise TypeError(f"@context goes on an async function, not on {function!r}")
        function.__tractor_context__ = ContextMark(_context_parameter(function), pld_spec, enc_hook, dec_hook)
        return function

    return mark if fn is None else mark(fn)


def _context_parameter(function: Any) -> str:
    names = [name for name, p in inspect.signature(function).parameters.items() if _is_context(p.annotation)]
    if len(names) != 1:
        found = "none" if not names else ", ".join(names)
        raise TypeError(
            f"{function.__qualname__}() needs exactly one parameter annotated Context (found: {found}), "
            "as in 'async def endpoint(ctx: tractor.Context)'"
        )
    return names[0]


def _is_context(annotation: Any) -> bool:
    """Whether an annotation names Context, also as a string that cannot be evaluated here."""
    if isinstance(annotation, str):
        bare = annotation.split("[", 1)[0].strip().strip("'\"")
        return bare.rsplit(".", 1)[-1] == "Context"
    return annotation is Context or getattr(annotation, "__origin__", None) is Context


def stream(fn: G) -> G:
    """Deprecated marker: an async generator function needs none to be opened with ``open_stream_from()``."""
    warnings.warn("@stream is not needed any more: use a plain async generator function", DeprecationWarning, 2)
    return fn
