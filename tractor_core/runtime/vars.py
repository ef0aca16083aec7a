"""Runtime variables: what a whole tree agrees on."""

from __future__ import annotations

import copy
from typing import Any, Literal, overload

import msgspec

from .state import current_actor


class RuntimeVars(msgspec.Struct, rename={"is_root": "_is_root", "debug_mode": "_debug_mode"}):
    """The variables as a struct; :func:`get_runtime_vars` yields them as a dict by default."""

    is_root: bool = False
    debug_mode: bool = False
    registry_addrs: list[str] = msgspec.field(default_factory=list, name="_registry_addrs")
    root_addrs: list[str] = msgspec.field(default_factory=list, name="_root_addrs")
    is_infected_aio: bool = msgspec.field(default=False, name="_is_infected_aio")


@overload
def get_runtime_vars(as_dict: Literal[True] = True, clear_values: bool = False) -> dict[str, Any]: ...
@overload
def get_runtime_vars(as_dict: Literal[False], clear_values: bool = False) -> RuntimeVars: ...
def get_runtime_vars(as_dict: bool = True, clear_values: bool = False) -> dict[str, Any] | RuntimeVars:
    """A deep copy of this actor's runtime variables; ``clear_values`` gives the defaults instead.

    Raises ``NoRuntime`` outside of an actor.
    """
    defaults = msgspec.to_builtins(RuntimeVars())
    values = dict(defaults) if clear_values else {**defaults, **copy.deepcopy(current_actor().runtime_vars)}
    return values if as_dict else msgspec.convert(values, RuntimeVars)
