"""The plugin manager: finds transports, spawn backends and hook plugins, each when it is first asked for."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import msgspec
import pluggy

from ..errors import PluginError
from ..seams import SpawnBackend, Transport
from .catalogue import CONFLICT, DISABLED, SHADOWED, Catalogue
from .entrypoints import (
    CHOOSE_VARIABLE,
    DISABLE_VARIABLE,
    GROUPS,
    HOOKS,
    SPAWNER,
    TRANSPORT,
    Provider,
    ProviderLike,
    parse_choices,
    parse_disabled,
    scan,
)
from .hookcalls import HookManager, try_out
from .loading import AVAILABLE, Loaded, check, load

log = logging.getLogger("tractor_core.plugin")

#: Other names of start methods, used where no provider has the name itself.
SPAWNER_ALIASES = {"trio": "subprocess", "mp_forkserver": "forkserver", "mp_spawn": "multiprocessing"}

#: In place of a distribution, for what the program itself handed over.
PROGRAM = "(this program)"


class ProviderStatus(msgspec.Struct, frozen=True):
    """A row of :meth:`PluginManager.list_providers`.

    ``status`` is ``available``, ``missing extra``, ``broken``, ``shadowed``, ``disabled`` or
    ``conflict``, ``detail`` says why; ``seconds`` is how long the import took, None without one.
    """

    provider: Provider
    status: str
    detail: str = ""
    seconds: float | None = None


class PluginManager(HookManager):
    """One per root actor; its children get the same table through :meth:`table`.

    Nothing is scanned before something is asked for, and nothing is imported before it is asked
    for by name. For the trio thread only.
    """

    def __init__(self, find: Callable[[], Catalogue] = Catalogue) -> None:
        super().__init__()
        self._find = find
        self._found: Catalogue | None = None
        #: What add_transport() and add_spawner() were given; goes before every other provider.
        self._added: dict[tuple[str, str], object] = {}
        #: What plugins made in their hooks, with the name of the plugin.
        self._made: dict[Provider, tuple[object, str]] = {}
        self._loaded: dict[Provider, Loaded] = {}
        #: The answers given so far, so that the second question costs one look-up.
        self._answers: dict[tuple[str, str], object] = {}
        self._providers: dict[str, Provider] = {}
        self._hooks_loaded = False

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str] = os.environ, *, path: Sequence[str] | None = None
    ) -> PluginManager:
        """From the entry points on ``sys.path`` (or ``path``), scanned at first need.

        ``TRACTOR_PLUGINS="ws=my-dist"`` chooses among providers of one name and
        ``TRACTOR_DISABLE_PLUGINS="a,b"`` blocks, by entry-point or distribution name. Raises
        ``PluginError`` where one of them cannot be understood.
        """
        choices = parse_choices(environ.get(CHOOSE_VARIABLE, ""))
        disabled = parse_disabled(environ.get(DISABLE_VARIABLE, ""))
        return cls(lambda: Catalogue(scan(path), choices, disabled))

    @classmethod
    def from_table(cls, rows: Iterable[ProviderLike]) -> PluginManager:
        """From what another manager's :meth:`table` returned; no metadata is scanned."""
        table = [Provider(row.kind, row.name, row.target, row.distribution, row.version) for row in rows]
        return cls(lambda: Catalogue(table))

    def transport(self, scheme: str) -> Transport:
        """The transport for a URL scheme, imported now if this is its first use.

        ``PluginError`` says what there is when nobody provides the scheme, names both providers
        where two do, and quotes the cause and the ``pip install`` line where it cannot be imported.
        """
        return cast(Transport, self._answers.get((TRANSPORT, scheme)) or self._resolve(TRANSPORT, scheme))

    def spawner(self, name: str) -> SpawnBackend:
        """The spawn backend of a start method or of its alias; errors as for :meth:`transport`."""
        if name in SPAWNER_ALIASES and name not in self._names(SPAWNER):
            name = SPAWNER_ALIASES[name]
        return cast(SpawnBackend, self._answers.get((SPAWNER, name)) or self._resolve(SPAWNER, name))

    def schemes(self) -> list[str]:
        """Every URL scheme that somebody provides, whether or not it can be imported; sorted."""
        return sorted(self._names(TRANSPORT))

    def methods(self) -> list[str]:
        """Every start method that somebody provides, without aliases; sorted."""
        return sorted(self._names(SPAWNER))

    def add_transport(self, transport: Transport) -> None:
        """Use this object for all its schemes, before any other provider. Does not travel to children.

        ``PluginError`` if it is no transport, or another one was added for one of its schemes.
        """
        check(TRANSPORT, None, transport)
        self._add(TRANSPORT, transport.schemes, transport)

    def add_spawner(self, backend: SpawnBackend) -> None:
        """Use this object for the start method of its name; as :meth:`add_transport`."""
        check(SPAWNER, None, backend)
        self._add(SPAWNER, (backend.name,), backend)

    def load_hooks(self) -> None:
        """Import the ``tractor_core.plugins`` group, one at a time; a second call does nothing.

        One that cannot be used is logged, remembered for :meth:`list_providers`, and left out.
        """
        if self._hooks_loaded:
            return
        self._hooks_loaded = True
        for provider in self._catalogue.active(HOOKS):
            loaded = self._load(provider)
            if loaded.status != AVAILABLE:
                log.error("%s", loaded.message)
        # Only now: a plugin may implement hooks that a later one specifies.
        for plugin in self.get_plugins():
            problem = self._reject_misspelt(plugin)
            if problem:
                log.error("%s", problem)

    def table(self) -> list[Provider]:
        """What children need to find the same plugins: every row that is neither shadowed nor
        disabled, unused ones and hook plugins included. Objects made or handed over at run time
        are not in it; what hook plugins make, they make again in the child."""
        return [row for row in self._catalogue.active() if row.target]

    def list_providers(self) -> list[ProviderStatus]:
        """Every provider there is and its state, found by importing those not imported yet, and holding
        their hooks against the specifications. Nothing is used, and no hook called, for being listed."""
        listed = [
            ProviderStatus(Provider(kind, name, "", PROGRAM, ""), AVAILABLE) for kind, name in self._added
        ]
        listed += map(self._status, self._catalogue.rows)
        return sorted(listed, key=lambda row: (row.provider.kind, row.provider.name, row.provider.source))

    def register(self, plugin: object, name: str | None = None) -> str | None:
        """Register an object with hooks, and ask it for the transports and backends it makes.

        Raises as :meth:`HookManager.register` does. A made object that does not fit its seam is logged.
        """
        registered = super().register(plugin, name)
        if registered is not None:
            for kind, hook_name in ((TRANSPORT, "tractor_transports"), (SPAWNER, "tractor_spawners")):
                for made in self.collect(hook_name, registered):
                    self._take(kind, made, registered)
        return registered

    def unregister(self, plugin: object | None = None, name: str | None = None) -> Any | None:
        """Take a plugin out again, with what it made; returns it."""
        gone = name if name is not None else self.get_name(plugin)
        removed = super().unregister(plugin, name)
        for provider in [row for row, (_, maker) in self._made.items() if maker == gone]:
            del self._made[provider]
            self._catalogue.remove(provider)
        self._answers.clear()
        return removed

    @property
    def _catalogue(self) -> Catalogue:
        if self._found is None:
            self._found = self._find()
        return self._found

    def _names(self, kind: str) -> set[str]:
        return self._catalogue.names(kind) | {name for of, name in self._added if of == kind}

    def _resolve(self, kind: str, name: str) -> object:
        found = self._added.get((kind, name))
        if found is None:
            provider = self._catalogue.pick(kind, name)
            found = self._made[provider][0] if provider in self._made else self._load(provider).unwrap()
        self._answers[kind, name] = found
        return found

    def _load(self, provider: Provider) -> Loaded:
        if provider not in self._loaded:
            loaded = self._loaded[provider] = load(provider)
            if loaded.status == AVAILABLE:
                try:
                    self._register_loaded(provider, loaded.plugin)
                except (pluggy.PluginValidationError, PluginError) as exc:
                    self._reject(provider, exc)
        return self._loaded[provider]

    def _register_loaded(self, provider: Provider, plugin: object) -> None:
        """Give it to pluggy, once: pluggy refuses an object, or one equal to it, under a second name."""
        if self.is_registered(plugin):
            return
        name = self._free_name(provider)
        self._providers[name] = provider
        self.register(plugin, name)
        if provider.kind != HOOKS:
            problem = self._reject_misspelt(plugin)
            if problem:
                raise PluginError(problem)

    def _free_name(self, provider: Provider) -> str:
        """What pluggy is to call it; ``PluginError`` where that is blocked."""
        name = f"{GROUPS[provider.kind]}:{provider.distribution}:{provider.attribute}"
        if self.is_blocked(name):
            raise PluginError(f"{name} is blocked")
        if name.endswith(":") or self.has_plugin(name):
            # A whole module, or the same attribute in two modules of the distribution.
            name = f"{GROUPS[provider.kind]}:{provider.distribution}:{provider.target}"
        return name

    def _reject_misspelt(self, plugin: object) -> str:
        """Take out a plugin that implements hooks nobody specifies; says which, or nothing."""
        problem = self.unknown_hooks(plugin)
        if problem:
            registered = self.get_name(plugin)
            self.unregister(plugin)
            if registered in self._providers:
                self._reject(self._providers[registered], PluginError(problem))
        return problem

    def _reject(self, provider: Provider, exc: Exception) -> None:
        self._loaded[provider] = self._loaded[provider].rejected(exc)

    def _tried(self, provider: Provider) -> Loaded:
        """What :meth:`_load` would make of it, without registering it: being listed is not being used."""
        loaded = load(provider)
        if loaded.status == AVAILABLE:
            try:
                try_out(loaded.plugin, self._free_name(provider))
            except (pluggy.PluginValidationError, PluginError) as exc:
                return loaded.rejected(exc)
        return loaded

    def _take(self, kind: str, made: Any, plugin_name: str) -> None:
        maker = self._providers.get(plugin_name, Provider(HOOKS, "", "", plugin_name, ""))
        try:
            check(kind, None, made)
        except PluginError as exc:
            log.error("plugin %s: %s", plugin_name, exc)
            return
        for name in made.schemes if kind == TRANSPORT else (made.name,):
            row = Provider(kind, name, "", maker.distribution, maker.version)
            if row not in self._made:
                self._made[row] = made, plugin_name
                self._catalogue.add(row)
                self._answers.pop((kind, name), None)

    def _add(self, kind: str, names: Iterable[str], plugin: object) -> None:
        names = tuple(names)
        for name in names:
            if self._added.get((kind, name), plugin) is not plugin:
                raise PluginError(f"{kind} {name!r} was already added: {self._added[kind, name]!r}")
        for name in names:
            self._added[kind, name] = plugin
            self._answers.pop((kind, name), None)
        if not self.is_registered(plugin):
            self.register(plugin, f"{GROUPS[kind]}:{PROGRAM}:{names[0]}")

    def _status(self, provider: Provider) -> ProviderStatus:
        state = self._catalogue.state(provider)
        if state == DISABLED:
            return ProviderStatus(provider, state, f"by {DISABLE_VARIABLE}")
        if state == SHADOWED:
            return ProviderStatus(provider, state, f"{CHOOSE_VARIABLE} chose another")
        if state == CONFLICT:
            return ProviderStatus(provider, state, self._catalogue.conflict(provider.kind, provider.name))
        if provider in self._made:
            return ProviderStatus(provider, AVAILABLE)
        loaded = self._loaded.get(provider) or self._tried(provider)
        return ProviderStatus(provider, loaded.status, loaded.message, loaded.seconds)
