"""The ``@context`` decorator, which marks a function as the callee's half of a context, and ``@stream``."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, overload

from msgspec import UNSET

from tractor_core.msg.codec import mk_codec
from tractor_core.msg.namespace import ContextMark

from .context import Context

F = TypeVar("F", bound=Callable[..., Coroutine[Any, Any, Any]])
G = TypeVar("G", bound=Callable[..., Any])

_STREAM_MARK = "__tractor_stream__"

#: What a ``@stream`` function may call the parameter that the runtime fills: its stream, or its context.
_STREAM_PARAMETERS = ("stream", "ctx")


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

    It must have one parameter annotated ``Context``, of any name, else ``TypeError``. ``pld_spec`` types
    every payload of the dialog, both ways; ``TypeError`` for one that msgspec cannot decode::

        @tractor.context(pld_spec=int | None)
        async def counter(ctx: tractor.Context, start: int) -> None:
            await ctx.started(start)
    """

    def mark(function: Any) -> Any:
        if not inspect.iscoroutinefunction(function):
            raise TypeError(f"@context goes on an async function, not on {function!r}")
        mark = ContextMark(_context_parameter(function), pld_spec, enc_hook, dec_hook)
        _check_contract(function, mark)
        function.__tractor_context__ = mark
        return function

    return mark if fn is None else mark(fn)


def _check_contract(function: Any, mark: ContextMark) -> None:
    """Refuse a contract that nothing could be decoded by, here rather than when it is first used."""
    if mark.pld_spec is UNSET:
        return
    try:
        mk_codec(mark.pld_spec, enc_hook=mark.enc_hook, dec_hook=mark.dec_hook)
    except TypeError as error:
        raise TypeError(f"the pld_spec of {function.__qualname__}() cannot be decoded: {error}") from error
    except NameError:
        pass  # a class that refers to one which the module has yet to define


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
    """Deprecated marker of functions for ``Portal.open_stream_from()``.

    An async generator function needs none. An async function sends with ``await stream.send(value)`` on
    its parameter ``stream``, or with ``await ctx.send_yield(value)`` on its parameter ``ctx``;
    ``TypeError`` where it has neither.
    """
    warnings.warn(
        "@stream is not needed any more: use a plain async generator function",
        DeprecationWarning,
        stacklevel=2,
    )
    if inspect.isasyncgenfunction(fn):
        return fn
    if not inspect.iscoroutinefunction(fn):
        raise TypeError(f"@stream goes on an async function, not on {fn!r}")
    given = inspect.signature(fn).parameters
    parameter = next((name for name in _STREAM_PARAMETERS if name in given), None)
    if parameter is None:
        raise TypeError(f"{fn.__qualname__}() needs a parameter named 'stream' to send its values through")
    marked: G = _as_context(fn, parameter)
    return marked


def is_stream_function(fn: Any) -> bool:
    """Whether ``@stream`` marked this async function."""
    return hasattr(fn, _STREAM_MARK)


def _as_context(fn: Any, parameter: str) -> Any:
    """The function as one that a context can run: its stream is opened before, and closed after it."""

    signature = inspect.signature(fn)

    @functools.wraps(fn)
    async def streaming(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs)
        context: Context = given.arguments[parameter]
        await context.started()
        async with context.open_stream() as opened:
            if parameter == "stream":
                given.arguments[parameter] = opened
            return await fn(*given.args, **given.kwargs)

    setattr(streaming, _STREAM_MARK, True)
    streaming.__tractor_context__ = ContextMark(parameter)  # type: ignore[attr-defined]
    return streaming
