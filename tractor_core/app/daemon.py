"""``run_daemon``: a root actor that serves until it is told to stop."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import trio

from tractor_core.seams import AddressLike

from .options import RootOptions
from .root import root_actor


def run_daemon(
    enable_modules: Iterable[str | Callable[..., Any]],
    *,
    name: str = "root",
    registry_addrs: Sequence[AddressLike] | None = None,
    start_method: str | None = None,
    debug_mode: bool = False,
    **kwargs: Any,
) -> None:
    """Serve ``enable_modules`` as a root actor until cancelled; blocks.

    SIGINT and SIGTERM end it gracefully, and then the process by that signal; being cancelled by a peer just
    returns. The other keywords are those of ``open_root_actor()``.
    """
    options = RootOptions(
        enable_modules=list(enable_modules),
        name=name,
        registry_addrs=registry_addrs,
        start_method=start_method,
        debug_mode=debug_mode,
        **kwargs,
    )
    trio.run(partial(_serve, options))


async def _serve(options: RootOptions) -> None:
    async with root_actor(options, (signal.SIGINT, signal.SIGTERM)):
        await trio.sleep_forever()
