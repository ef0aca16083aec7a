"""The keywords of a root actor, for those who only pass them on: type checkers, editors, ``help()``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypedDict, TypeVar

from tractor_core.ipc.limits import Limits
from tractor_core.msg.extension import ExtType
from tractor_core.plugin.manager import PluginManager
from tractor_core.seams import AddressLike, TLSConfig

from .options import RootOptions

F = TypeVar("F", bound=Callable[..., Any])


class RootKeywords(TypedDict, total=False):
    """The fields of ``RootOptions``, which has their defaults. A test compares the two."""

    name: str
    registry_addrs: Sequence[AddressLike] | None
    bind_addrs: Sequence[AddressLike] | None
    enable_transports: Sequence[str] | None
    start_method: str | None
    enable_modules: Iterable[str | Callable[..., Any]] | None
    loglevel: str | None
    ensure_registry: bool
    debug_mode: bool
    maybe_enable_greenback: bool
    enable_stack_on_sig: bool
    debug_filter: Any
    hide_tb: bool
    auth_key: bytes | str | None
    auth_tokens: Mapping[str, str] | None
    client_tracebacks: bool
    tls: TLSConfig | None
    limits: Limits | None
    ext_types: Sequence[ExtType]
    plugins: PluginManager | None
    heartbeat_interval: float | None
    heartbeat_timeout: float | None
    arbiter_addr: AddressLike | None
    rpc_module_paths: Iterable[str] | None
    tpt_bind_addrs: Sequence[AddressLike] | None


def shows_root_keywords(function: F) -> F:
    """Have ``inspect.signature()`` list the keywords of a root in place of the function's ``**options``."""
    own = inspect.signature(function)
    parameters = [each for each in own.parameters.values() if each.kind is not each.VAR_KEYWORD]
    named = {each.name for each in parameters}
    # Not the signature of the struct, which would evaluate annotations that are for type checkers only.
    parameters += [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=default,
            annotation=RootOptions.__annotations__[name],
        )
        for name, default in zip(RootOptions.__struct_fields__, RootOptions.__struct_defaults__, strict=True)
        if name not in named
    ]
    setattr(function, "__signature__", own.replace(parameters=parameters))  # noqa: B010 - of any callable
    return function
