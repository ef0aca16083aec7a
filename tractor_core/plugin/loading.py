"""Importing one plugin, with whatever its import does contained, and checking what came out."""

from __future__ import annotations

import importlib
import time
from types import ModuleType

import msgspec

from ..errors import PluginError
from ..seams import parse_address
from .entrypoints import HOOKS, SPAWNER, TRANSPORT, Provider

AVAILABLE = "available"
MISSING_EXTRA = "missing extra"
BROKEN = "broken"

_TRANSPORT_METHODS = (
    "parse",
    "default_bind",
    "default_registry",
    "exposure",
    "distance",
    "connect",
    "listen",
)


class Loaded(msgspec.Struct, frozen=True):
    """What importing a provider gave: the object, or why there is none. Times in seconds."""

    provider: Provider
    status: str
    seconds: float
    plugin: object = None
    message: str = ""
    cause: BaseException | None = None

    def unwrap(self) -> object:
        """The object, or ``PluginError`` quoting the cause and the line that repairs it."""
        if self.status != AVAILABLE:
            # Made anew for each who asks: a stored exception collects every asker's traceback.
            raise PluginError(self.message) from self.cause
        return self.plugin

    def rejected(self, exc: Exception) -> Loaded:
        """The same for one that could be imported and turned out to be no use."""
        who = self.provider
        message = f"{who.kind} {who.name!r}, provided by {who.source}, cannot be used: {exc}"
        return msgspec.structs.replace(self, status=BROKEN, plugin=None, message=message, cause=exc)


def load(provider: Provider) -> Loaded:
    """Import what the provider names and check it; never raises, except ``KeyboardInterrupt``."""
    started = time.perf_counter()
    try:
        plugin = _import(provider)
        check(provider.kind, provider.name, plugin)
    except KeyboardInterrupt:
        raise
    except BaseException as exc:  # a module may end its import with SystemExit
        status, message = _explain(provider, exc)
        return Loaded(provider, status, time.perf_counter() - started, message=message, cause=exc)
    return Loaded(provider, AVAILABLE, time.perf_counter() - started, plugin)


def check(kind: str, name: str | None, plugin: object) -> None:
    """Hold an object against its seam; ``PluginError`` names what is missing.

    ``name`` is the scheme it must declare, None where any will do.
    """
    if kind == HOOKS:
        return
    if isinstance(plugin, type):
        raise PluginError(f"{plugin.__qualname__} is a class; name an instance of it")
    if kind == TRANSPORT:
        schemes = getattr(plugin, "schemes", None)
        if not (isinstance(schemes, tuple) and schemes and all(isinstance(each, str) for each in schemes)):
            raise PluginError(f"{plugin!r} is no Transport: 'schemes' is {schemes!r}, not a tuple of names")
        for scheme in schemes:
            _check_scheme(plugin, scheme)
        _check_methods(plugin, "Transport", _TRANSPORT_METHODS)
        if name is not None and name not in schemes:
            raise PluginError(f"{plugin!r} does not declare scheme {name!r} (it has {', '.join(schemes)})")
    elif kind == SPAWNER:
        if not isinstance(getattr(plugin, "name", None), str):
            raise PluginError(f"{plugin!r} is no SpawnBackend: it has no 'name'")
        _check_methods(plugin, "SpawnBackend", ("spawn",))


def _check_scheme(plugin: object, scheme: str) -> None:
    try:
        usable = parse_address(f"{scheme}://x").scheme == scheme
    except ValueError:
        usable = False
    if not usable:
        rule = "schemes are lower case letters, digits, '+', '-' and '.', a letter first"
        raise PluginError(f"{plugin!r} is no Transport: no URL can have the scheme {scheme!r} ({rule})")


def _check_methods(plugin: object, seam: str, methods: tuple[str, ...]) -> None:
    missing = [method for method in methods if not callable(getattr(plugin, method, None))]
    if missing:
        raise PluginError(f"{plugin!r} is no {seam}: it lacks {', '.join(missing)}")


def _import(provider: Provider) -> object:
    found: object = importlib.import_module(provider.module)
    for attribute in provider.attribute.split(".") if provider.attribute else ():
        if not hasattr(found, attribute):
            where = found.__name__ if isinstance(found, ModuleType) else repr(found)
            raise PluginError(f"{where} has no attribute {attribute!r}")
        found = getattr(found, attribute)
    return found


def _explain(provider: Provider, exc: BaseException) -> tuple[str, str]:
    """Status and message for a provider whose import or check raised ``exc``."""
    subject = f"{provider.kind} {provider.name!r}, provided by {provider.source} as {provider.target!r}"
    missing = exc.name if isinstance(exc, ModuleNotFoundError) else None
    if missing and not f"{provider.module}.".startswith(f"{missing}."):
        extras = provider.extras
        wanted = f"'{provider.distribution}[{extras}]'" if extras else provider.distribution
        needs = f"needs module {missing!r}, which is not installed: pip install {wanted}"
        return MISSING_EXTRA, f"{subject}, {needs}"
    cause = str(exc) if isinstance(exc, PluginError) else f"{type(exc).__name__}: {exc}"
    line = f"pip install --force-reinstall {provider.distribution}"
    return BROKEN, f"{subject}, cannot be used: {cause} (to install it again: {line})"
