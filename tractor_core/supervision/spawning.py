"""Asking a spawn backend for a process, and holding what it gives against the seam."""

from __future__ import annotations

import inspect

from tractor_core.errors import PluginError
from tractor_core.seams import ActorProcess, SpawnBackend, SpawnRequest

_METHODS = ("wait", "poll", "terminate", "kill")


async def spawn(backend: SpawnBackend, request: SpawnRequest) -> ActorProcess:
    """What ``backend.spawn(request)`` gives, and raises.

    ``PluginError`` names the backend where its ``spawn`` is no coroutine function or gives no
    ``ActorProcess``.
    """
    # Whatever the annotations say: the backend may be anybody's.
    pending: object = backend.spawn(request)
    if not inspect.isawaitable(pending):
        raise PluginError(
            f"{_named(backend)} is no use: its spawn() gave {pending!r}; it must be 'async def'"
        )
    process: object = await pending
    missing = [name for name in _METHODS if not callable(getattr(process, name, None))]
    if not hasattr(process, "pid"):
        missing.insert(0, "pid")
    if missing:
        lacks = ", ".join(missing)
        raise PluginError(f"{_named(backend)} is no use: its spawn() gave {process!r}, which lacks {lacks}")
    given: ActorProcess = process  # type: ignore[assignment]  # as has just been seen
    return given


def _named(backend: SpawnBackend) -> str:
    kind = type(backend)
    return f"spawn backend {backend.name!r} ({kind.__module__}.{kind.__qualname__})"
