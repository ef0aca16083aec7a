"""Calling hooks so that no plugin can hurt the runtime or another plugin."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from typing import Any, NamedTuple

import pluggy

from ..errors import PluginError
from ..seams.hooks import PROJECT
from . import hookspec

log = logging.getLogger("tractor_core.plugin")

#: What a hook may raise without consequence for others. ``trio.Cancelled`` and ``KeyboardInterrupt``
#: are not in it: they belong to the task in which the hook runs.
_CONTAINED = (Exception, SystemExit, GeneratorExit)


#: Where pluggy's marker leaves the options of a specification.
_SPECIFICATION = f"{PROJECT}_spec"


class Implementation(NamedTuple):
    """One plugin's implementation of one hook, ready to be called."""

    plugin_name: str
    function: Callable[..., Any]
    arguments: tuple[str, ...]
    optional_arguments: tuple[str, ...]

    def call(self, values: dict[str, Any]) -> Any:
        """Call with those of ``values`` that the function takes."""
        optional = {name: values[name] for name in self.optional_arguments if name in values}
        return self.function(*[values[name] for name in self.arguments], **optional)


class HookManager(pluggy.PluginManager):
    """A pluggy manager that knows our hooks, checks implementations and calls them one by one.

    The booleans say whether anybody implements a hook. Code on the hot path reads them before it
    makes arguments: ``if plugins.dialog_opened: plugins.notify("tractor_dialog_opened", ...)``.
    """

    actor_starting: bool
    actor_stopped: bool
    dialog_opened: bool
    dialog_closed: bool
    channel_opened: bool
    channel_closed: bool
    has_authorize: bool

    def __init__(self) -> None:
        super().__init__(PROJECT)
        self._implementations: dict[str, tuple[Implementation, ...]] = {}
        self.add_hookspecs(hookspec)
        self._refresh()

    def register(self, plugin: object, name: str | None = None) -> str | None:
        """Register an object with hook implementations; see :meth:`pluggy.PluginManager.register`.

        Raises ``pluggy.PluginValidationError`` for an implementation that is ``async``, is a
        wrapper, or takes an argument its hook does not have; nothing of it is registered then.
        """
        try:
            return super().register(plugin, name)
        finally:
            self._refresh()

    def unregister(self, plugin: object | None = None, name: str | None = None) -> Any | None:
        """Take a plugin and its hook implementations out again; returns it."""
        removed = super().unregister(plugin, name)
        self._refresh()
        return removed

    def parse_hookspec_opts(self, module_or_class: Any, name: str) -> Any:
        """What pluggy asks about each name in a module of specifications."""
        if module_or_class is hookspec:
            # Every new actor asks. These are known to be plain functions; pluggy, which takes care to run no
            # property, took 50 µs more of an actor's start.
            return getattr(getattr(hookspec, name), _SPECIFICATION, None)
        return super().parse_hookspec_opts(module_or_class, name)

    def parse_hookimpl_opts(self, plugin: object, name: str) -> Any:
        """What pluggy asks about each attribute of a plugin; refuses what we could not call."""
        if name.startswith("__"):
            # What every object has: 27 of the 35 names of a transport. Its first use fell from 300 to 90 µs.
            return None
        options = super().parse_hookimpl_opts(plugin, name)
        if options is None:
            return None
        function = inspect.unwrap(getattr(plugin, name))
        problem = None
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            problem = "is 'async def': hooks are synchronous"
        elif options.get("wrapper") or options.get("hookwrapper"):
            problem = "is a wrapper: hooks are called one by one"
        if problem is not None:
            raise pluggy.PluginValidationError(
                plugin, f"hook implementation {name!r} of {plugin!r} {problem}"
            )
        return options

    def has(self, hook_name: str) -> bool:
        """Whether any registered plugin implements the hook."""
        return hook_name in self._implementations

    def notify(self, hook_name: str, /, **values: Any) -> None:
        """Call every implementation of a hook, the last registered first (as pluggy does).

        One that raises is logged with the name of its plugin, and the next one is called.
        """
        for implementation in self._implementations.get(hook_name, ()):
            try:
                implementation.call(values)
            except _CONTAINED:
                log.exception("hook %s of plugin %s failed", hook_name, implementation.plugin_name)

    def collect(self, hook_name: str, plugin_name: str) -> list[Any]:
        """All that one plugin's implementations of a hook without arguments return, in one list.

        A failure is logged and counts as an empty answer.
        """
        collected: list[Any] = []
        for implementation in self._implementations.get(hook_name, ()):
            if implementation.plugin_name == plugin_name:
                try:
                    collected += implementation.call({})
                except _CONTAINED:
                    log.exception("hook %s of plugin %s failed", hook_name, plugin_name)
        return collected

    def unknown_hooks(self, plugin: object) -> str:
        """Says which hooks a registered plugin implements and nobody specifies; empty where there are none
        (pluggy's ``check_pending()`` stops at the first of the first plugin)."""
        names = [
            caller.name
            for caller in self.get_hookcallers(plugin) or ()
            if not caller.has_spec()
            and any(impl.plugin is plugin and not impl.optionalhook for impl in caller.get_hookimpls())
        ]
        if not names:
            return ""
        known = ", ".join(sorted(name for name, caller in vars(self.hook).items() if caller.has_spec()))
        registered = self.get_name(plugin) or repr(plugin)
        return f"plugin {registered} implements unknown hooks {', '.join(names)}; there is {known}"

    def authorize(self, peer: Any, target: str) -> bool | None:
        """What the plugins say of a call: False refuses, True allows, None leaves it to the default.

        All are asked; any False, any failure and any answer but True, False, None refuses.
        """
        verdict: bool | None = None
        refused = False
        for implementation in self._implementations.get("tractor_authorize", ()):
            try:
                answer = implementation.call({"peer": peer, "target": target})
                if answer is not None and not isinstance(answer, bool):
                    raise TypeError(f"tractor_authorize must return True, False or None, not {answer!r}")
            except _CONTAINED:
                log.exception(
                    "hook tractor_authorize of plugin %s failed, call of %s refused",
                    implementation.plugin_name,
                    target,
                )
                answer = False
            refused = refused or answer is False
            verdict = verdict or answer
        return False if refused else verdict

    def _refresh(self) -> None:
        """Bring the tables that the hot path reads in line with what is registered."""
        self._implementations = {}
        for hook_name, caller in vars(self.hook).items():
            implementations = caller.get_hookimpls() if isinstance(caller, pluggy.HookCaller) else []
            if implementations:
                self._implementations[hook_name] = tuple(
                    Implementation(
                        impl.plugin_name, impl.function, tuple(impl.argnames), tuple(impl.kwargnames)
                    )
                    for impl in reversed(implementations)
                )
        self.actor_starting = self.has("tractor_actor_starting")
        self.actor_stopped = self.has("tractor_actor_stopped")
        self.dialog_opened = self.has("tractor_dialog_opened")
        self.dialog_closed = self.has("tractor_dialog_closed")
        self.channel_opened = self.has("tractor_channel_opened")
        self.channel_closed = self.has("tractor_channel_closed")
        self.has_authorize = self.has("tractor_authorize")


def try_out(plugin: object, name: str) -> None:
    """Raise what registering a plugin under that name would, without registering it or calling its hooks.

    ``pluggy.PluginValidationError`` as :meth:`HookManager.register`, ``PluginError`` for unknown hooks.
    """
    trial = HookManager()
    trial.register(plugin, name)
    problem = trial.unknown_hooks(plugin)
    if problem:
        raise PluginError(problem)
