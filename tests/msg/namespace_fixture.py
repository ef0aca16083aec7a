"""A module as a user would write it, for the tests of names and exposure."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from os.path import join
from typing import Any

import trio
from trio import sleep_forever

from tractor_core.msg.namespace import ContextMark, NamespacePath

__all__ = ["_listed", "not_there", "public", "sleep_forever"]  # noqa: F822


async def public(x: int) -> int:
    """Defined here."""
    await trio.lowlevel.checkpoint()
    return x


async def unlisted() -> None:
    """Not in ``__all__``, which adds and does not restrict."""


async def _private() -> None:
    """Not for peers."""


async def _listed() -> None:
    """For peers, since ``__all__`` says so."""


async def stream(count: int) -> AsyncIterator[int]:
    """An async generator function."""
    for number in range(count):
        yield number


async def dialog(ctx: Any, x: int) -> None:
    """What @context makes."""


dialog.__tractor_context__ = ContextMark("ctx")  # type: ignore[attr-defined]


async def for_clients() -> None:
    """What @expose(clients=True) makes."""


for_clients.__tractor_clients__ = True  # type: ignore[attr-defined]


def logged(function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """A decorator."""

    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return await function(*args, **kwargs)

    return wrapper


@logged
async def decorated(x: int) -> int:
    """Known by the name it has here."""
    return x


def synchronous() -> None:
    """Not async."""


class Class:
    """With methods."""

    async def method(self) -> None:
        """Needs an object."""

    @staticmethod
    async def static() -> None:
        """In a class."""


lambda_function = lambda: None  # noqa: E731
partial = functools.partial(public, 1)
bound = Class().method
other_name = public
imported_helpers = (join, NamespacePath)


def make_nested() -> Callable[[], Awaitable[None]]:
    """Returns a nested function."""

    async def nested() -> None: ...

    return nested


async def shadowed() -> None:
    """Replaced below."""


original_shadowed = shadowed


async def _replacement() -> None: ...


shadowed = _replacement
