"""What a root actor is told, by argument and by environment."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from uuid import uuid4

import msgspec

from tractor_core.errors import PluginError
from tractor_core.ipc.cookie import load_key
from tractor_core.ipc.limits import Limits
from tractor_core.log import get_console_log
from tractor_core.msg.exposure import Exposed
from tractor_core.msg.extension import ExtType, names_of
from tractor_core.msg.types import Aid
from tractor_core.plugin.manager import PluginManager
from tractor_core.protocol.auth import ClientTokens
from tractor_core.protocol.handshake import Identity
from tractor_core.protocol.liveness import Heartbeat
from tractor_core.runtime.actor import Actor
from tractor_core.runtime.state import actor_of_task, current_actor
from tractor_core.seams import Address, AddressLike, TLSConfig, parse_address
from tractor_core.seams.tls import load_tls

from .main_module import is_preparing_main

#: What a root listens with when nothing is said.
DEFAULT_TRANSPORTS = ("tcp",)
DEFAULT_START_METHOD = "subprocess"


class RootOptions(msgspec.Struct, kw_only=True):
    """The arguments of ``open_root_actor()``, which documents them."""

    name: str = "root"
    registry_addrs: Sequence[AddressLike] | None = None
    bind_addrs: Sequence[AddressLike] | None = None
    enable_transports: Sequence[str] | None = None
    start_method: str | None = None
    enable_modules: Iterable[str | Callable[..., Any]] | None = None
    loglevel: str | None = None
    ensure_registry: bool = False
    debug_mode: bool = False
    maybe_enable_greenback: bool = False
    enable_stack_on_sig: bool = False
    debug_filter: Any = None
    hide_tb: bool = True
    auth_key: bytes | str | None = None
    auth_tokens: Mapping[str, str] | None = None
    client_tracebacks: bool = False
    tls: TLSConfig | None = None
    limits: Limits | None = None
    ext_types: Sequence[ExtType] = ()
    plugins: PluginManager | None = None
    heartbeat_interval: float | None = None
    heartbeat_timeout: float | None = None
    arbiter_addr: AddressLike | None = None
    rpc_module_paths: Iterable[str] | None = None
    tpt_bind_addrs: Sequence[AddressLike] | None = None

    def __post_init__(self) -> None:
        if self.arbiter_addr is not None:
            _renamed("arbiter_addr", "registry_addrs")
            self.registry_addrs = self.registry_addrs or [self.arbiter_addr]
        if self.rpc_module_paths is not None:
            _renamed("rpc_module_paths", "enable_modules")
            self.enable_modules = self.enable_modules or list(self.rpc_module_paths)
        if self.tpt_bind_addrs is not None:
            _renamed("tpt_bind_addrs", "bind_addrs")
            self.bind_addrs = self.bind_addrs or self.tpt_bind_addrs
        for name in ("registry_addrs", "bind_addrs", "enable_transports", "enable_modules"):
            if isinstance(value := getattr(self, name), str):
                raise TypeError(f"{name} is a list, so write {name}=[{value!r}]")
        if self.enable_stack_on_sig:
            raise _not_part("enable_stack_on_sig=True")
        if self.debug_mode or self.maybe_enable_greenback or self.debug_filter is not None:
            raise _not_part("the multi-process debugger (debug_mode=True)")


def schemes_of(options: RootOptions, environ: Mapping[str, str] = os.environ) -> list[str]:
    """The transports to listen with, best first.

    The environment's, else the argument's, else those of the addresses given, else TCP.
    """
    named = environ.get("TRACTOR_TRANSPORTS", "")
    given = [scheme.strip() for scheme in named.split(",") if scheme.strip()]
    if not given:
        given = list(options.enable_transports or ())
    if not given:
        addresses = [*(options.bind_addrs or ()), *(options.registry_addrs or ())]
        given = [parse_address(address).scheme for address in addresses]
    return list(dict.fromkeys(given)) or list(DEFAULT_TRANSPORTS)


def addresses_of(plugins: PluginManager, values: Sequence[AddressLike]) -> list[Address]:
    """Addresses as their own transports understand them; ``ValueError`` names what is wrong with one."""
    parsed = [parse_address(value) for value in values]
    addresses = [plugins.transport(address.scheme).parse(address.url) for address in parsed]
    # Twice the same is once; only "any port" can be had several times.
    return [a for index, a in enumerate(addresses) if a.port == 0 or a not in addresses[:index]]


def make_root(options: RootOptions, environ: Mapping[str, str] = os.environ) -> Actor:
    """The actor that ``options`` describe, not yet running."""
    if actor_of_task() is not None:
        raise RuntimeError("there is an actor runtime in this task tree already")
    if is_preparing_main():
        raise RuntimeError(
            "this script starts actors while a child imports it: put what it runs under "
            "'if __name__ == \"__main__\":'"
        )
    if environ.get("TRACTOR_ENABLE_STACKSCOPE"):
        raise _not_part("TRACTOR_ENABLE_STACKSCOPE")
    heartbeat = Heartbeat.of(options.heartbeat_interval, options.heartbeat_timeout)
    key, explicit = load_key(options.auth_key, environ)
    plugins = options.plugins or PluginManager.from_environment(environ)
    level = environ.get("TRACTOR_LOGLEVEL") or options.loglevel
    if level:
        get_console_log(level, identity=actor_identity)
    aid = Aid(options.name, str(uuid4()), os.getpid())
    actor = Actor(
        Identity(aid, key, explicit),
        plugins=plugins,
        limits=options.limits or Limits(),
        exposed=Exposed(),
        is_root=True,
        runtime_vars={"_is_root": True, "_debug_mode": False},
    )
    names_of(options.ext_types)  # what children could not import is said here, to whom it concerns
    actor.use_ext_types(options.ext_types)
    actor.tls = load_tls(options.tls, environ)
    actor.heartbeats.default = heartbeat
    actor.tokens = ClientTokens(options.auth_tokens)
    actor.client_tracebacks = options.client_tracebacks
    actor.loglevel = level
    actor.transports = schemes_of(options, environ)
    actor.start_method = environ.get("TRACTOR_SPAWN_METHOD") or options.start_method or DEFAULT_START_METHOD
    for entry in options.enable_modules or ():
        if callable(entry):
            actor.exposed.add_function(entry)
        else:
            actor.exposed.add_module(entry)
    return actor


def actor_identity() -> str | None:
    """Who is speaking, for log records."""
    actor = current_actor(err_on_no_runtime=False)
    return None if actor is None else str(actor.aid)


def _not_part(what: str) -> PluginError:
    return PluginError(f"{what} is not part of this version of tractor-core")


def _renamed(old: str, new: str) -> None:
    warnings.warn(f"{old}= is now {new}=", DeprecationWarning, stacklevel=5)
