"""Namespace ``self``: the fixed list of what a peer may ask of the runtime itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from tractor_core.errors import ModuleNotExposed
from tractor_core.ipc.channel import Channel

#: How targets of this namespace begin.
PREFIX = "self:"


class SystemEndpoint(msgspec.Struct, frozen=True):
    """A runtime function: ``function(channel, **kwargs)``, or with the context after the channel."""

    function: Callable[..., Awaitable[Any]]
    functype: str
    #: Whether peers without the tree's key may call it.
    clients: bool = False


class SystemTable:
    """The runtime functions that this actor serves, by name."""

    def __init__(self) -> None:
        self._endpoints: dict[str, SystemEndpoint] = {}
        self._on_closed: list[Callable[[Channel], None]] = []

    def add(self, name: str, endpoint: SystemEndpoint) -> None:
        """Serve ``self:name``."""
        self._endpoints[name] = endpoint

    def remove(self, name: str) -> None:
        """Serve it no more."""
        del self._endpoints[name]

    def lookup(self, name: str) -> SystemEndpoint:
        """``ModuleNotExposed`` lists what there is."""
        try:
            return self._endpoints[name]
        except KeyError:
            known = ", ".join(sorted(self._endpoints))
            raise ModuleNotExposed(f"the runtime serves no {name!r} (it serves: {known})") from None

    def watch_channels(self, on_closed: Callable[[Channel], None]) -> None:
        """Have ``on_closed`` called, synchronously, for each channel that ends."""
        self._on_closed.append(on_closed)

    def unwatch_channels(self, on_closed: Callable[[Channel], None]) -> None:
        """Undo :meth:`watch_channels`."""
        self._on_closed.remove(on_closed)

    def channel_closed(self, channel: Channel) -> None:
        for on_closed in self._on_closed:
            on_closed(channel)
