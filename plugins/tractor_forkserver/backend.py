"""Starts actors by having a template fork them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import trio

from tractor_core.errors import PluginError
from tractor_core.seams import SpawnRequest, hookimpl
from tractor_core.seams.pipes import write_or_kill

from .messages import MOST_DESCRIPTORS, Order, pack_order
from .owner import Template, TemplateEnded
from .process import ForkedActor

#: Modules for the template to import, separated by commas, besides those of the option ``preload``.
PRELOAD_VARIABLE: Final = "TRACTOR_PRELOAD"

#: The templates of a trio run, by what they preload.
_templates: Final[trio.lowlevel.RunVar[dict[tuple[str, ...], Template]]] = trio.lowlevel.RunVar(
    "tractor_forkserver.templates"
)


class ForkserverBackend:
    """Spawn method ``forkserver``: quick to start and small, by sharing the memory of what is imported.

    The first spawn starts the template; it ends with the actor that started it, or with the trio run. Option
    ``preload``: names of modules for it to import (a template for each such set); so does the environment
    variable ``TRACTOR_PRELOAD``. Linux only.
    """

    name = "forkserver"

    async def spawn(self, request: SpawnRequest) -> ForkedActor:
        """Fork a process for ``request``.

        ``ValueError`` for an unknown option, ``TypeError`` for a wrong one; ``ImportError`` where a module
        cannot be preloaded; ``OSError`` where the system refuses; ``PluginError`` where it cannot fork like
        that.
        """
        preload = _preload(request.options)
        _check_system()
        await trio.lowlevel.checkpoint_if_cancelled()
        order = pack_order(_order(request))
        for _ in range(2):
            template = _template(preload, request)
            try:
                return await _spawn_from(template, request, order)
            except TemplateEnded:
                if template.failure is not None:
                    raise ImportError(f"start method 'forkserver': {template.failure}") from None
                # Somebody killed it; that is no reason to fail unless it happens again.
        raise OSError(
            "the template process of start method 'forkserver' ended twice while an actor was started"
        )

    @hookimpl
    def tractor_actor_stopped(self) -> None:
        """End the templates that nobody uses any more: the last actor's end should leave no process."""
        templates = _templates.get({})
        for preload, template in list(templates.items()):
            if not template.in_use:
                del templates[preload]
                template.end()


def _preload(options: Mapping[str, Any]) -> tuple[str, ...]:
    unknown = sorted(set(options) - {"preload"})
    if unknown:
        raise ValueError(f"start method 'forkserver' has the option 'preload', not {', '.join(unknown)}")
    given = options.get("preload", ())
    names: list[Any] = [None] if isinstance(given, str) or not isinstance(given, Iterable) else list(given)
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"preload is a list of module names, not {given!r}")
    named = (name.strip() for name in os.environ.get(PRELOAD_VARIABLE, "").split(","))
    return tuple(dict.fromkeys([*filter(None, named), *names]))


def _check_system() -> None:
    if not hasattr(os, "pidfd_open") or not hasattr(signal, "pidfd_send_signal"):
        raise PluginError("start method 'forkserver' needs Linux 5.3 or later: use 'subprocess'")


def _order(request: SpawnRequest) -> Order:
    variables = dict(os.environb)
    if request.env is not None:
        variables = {os.fsencode(name): os.fsencode(value) for name, value in request.env.items()}
    return Order(
        search_path=_search_path(),
        environment=variables,
        blocked=_blocked(),
        title=request.title,
        entry=request.entry,
        names=list(request.descriptors),
        bootstrap=request.bootstrap,
    )


def _blocked() -> list[int]:
    """What a process started here and now inherits as its signal mask, without what no actor may block."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    return [int(number) for number in mask if number not in (signal.SIGINT, signal.SIGTERM)]


def _search_path() -> list[str]:
    """``sys.path`` as a process in another directory must write it."""
    return [path if os.path.isabs(path) else os.path.abspath(path) for path in sys.path]


@contextmanager
def _descriptors(request: SpawnRequest, pipe: int) -> Iterator[tuple[int, list[int]]]:
    """All that the new process gets, and which of the standard descriptors are among it, as bits.

    ``OSError`` where the working directory is none, or there are more than a message can carry.
    """
    standard = [number for number in range(3) if _is_inherited(number)]
    # As a descriptor, so that what is wrong with it is said here, and that it need not have a name.
    directory = os.open(request.cwd or os.curdir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        descriptors = [pipe, directory, *standard, *request.descriptors.values()]
        if len(descriptors) > MOST_DESCRIPTORS:
            raise OSError(f"{len(descriptors)} descriptors for one actor: at most {MOST_DESCRIPTORS} fit")
        yield sum(1 << number for number in standard), descriptors
    finally:
        os.close(directory)


def _is_inherited(standard: int) -> bool:
    """Whether it is a standard descriptor, and not something of ours that found the number free."""
    try:
        return os.get_inheritable(standard)
    except OSError:
        return False


async def _spawn_from(template: Template, request: SpawnRequest, order: bytes) -> ForkedActor:
    """One attempt, with a pipe of its own.

    Where the template ends between a fork and its report, the process that it has forked finds its pipe
    closed and ends: it must not be there for what the next attempt is told.
    """
    read_end, write_end = os.pipe()
    try:
        try:
            with _descriptors(request, read_end) as (standard, descriptors):
                actor = await template.fork(standard, descriptors)
        finally:
            os.close(read_end)
        await write_or_kill(actor, write_end, order)
    finally:
        os.close(write_end)
    return actor


def _template(preload: tuple[str, ...], request: SpawnRequest) -> Template:
    """The running template for these modules, started where there is none."""
    try:
        templates = _templates.get()
    except LookupError:
        templates = {}
        _templates.set(templates)
    template = templates.get(preload)
    if template is None or template.over:
        template = templates[preload] = Template(
            {
                "owner": os.getpid(),
                "search_path": _search_path(),
                "preload": list(preload),
                "expected": [request.entry.partition(":")[0], *request.modules],
                "rehearsal": request.rehearsal,
            }
        )
    return template


#: What the entry point names.
backend = ForkserverBackend()
