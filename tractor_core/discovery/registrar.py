"""Registrar: which actors there are, and where they listen."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Literal

import msgspec
import trio

from tractor_core.ipc.channel import Channel
from tractor_core.msg.types import Aid
from tractor_core.runtime.actor import Actor
from tractor_core.runtime.context import Context
from tractor_core.runtime.system import SystemEndpoint

Event = Literal["registered", "unregistered"]

#: Events a watcher may be behind before it is cut off, so that one that hangs costs no memory.
WATCH_BACKLOG = 10_000


class Found(msgspec.Struct):
    """One actor that a look-up found."""

    name: str
    uuid: str
    addresses: list[str]


@dataclass(eq=False, slots=True)
class Entry:
    """One registered actor. ``channel`` is the one it registered over; None for the registrar itself."""

    aid: Aid
    addresses: list[str]
    channel: Channel | None
    serial: int


@dataclass(eq=False, slots=True)
class _Watcher:
    prefix: str
    send: trio.MemorySendChannel[tuple[str, str, list[str]]]


@dataclass(eq=False)
class Registrar:
    """The registry. An actor's entry lives as long as the channel over which it was made."""

    actor: Actor
    _entries: dict[str, Entry] = field(default_factory=dict)
    _by_name: dict[str, dict[str, Entry]] = field(default_factory=dict)
    _by_channel: dict[Channel, set[str]] = field(default_factory=dict)
    _watchers: set[_Watcher] = field(default_factory=set)
    _waiters: dict[str, trio.Event] = field(default_factory=dict)
    _serials: Any = field(default_factory=count)

    def serve(self) -> None:
        """Offer the registry in namespace ``self``, and list the registrar itself."""
        system = self.actor.system
        system.add("register", SystemEndpoint(self._serve_register, "asyncfunc"))
        system.add("unregister", SystemEndpoint(self._serve_unregister, "asyncfunc"))
        system.add("find", SystemEndpoint(self._serve_find, "asyncfunc"))
        system.add("wait", SystemEndpoint(self._serve_wait, "asyncfunc"))
        system.add("refused", SystemEndpoint(self._serve_refused, "asyncfunc"))
        system.add("watch", SystemEndpoint(self._serve_watch, "context"))
        system.watch_channels(self._channel_closed)

    # -- the table --------------------------------------------------------------------------------

    def register(self, aid: Aid, addresses: Sequence[str], channel: Channel | None) -> None:
        """Add or replace an actor's entry."""
        self._remove(aid.uuid, quietly=True)
        entry = Entry(aid, list(addresses), channel, next(self._serials))
        self._entries[aid.uuid] = entry
        self._by_name.setdefault(aid.name, {})[aid.uuid] = entry
        if channel is not None:
            self._by_channel.setdefault(channel, set()).add(aid.uuid)
        self._tell("registered", entry)
        waiter = self._waiters.pop(aid.name, None)
        if waiter is not None:
            waiter.set()

    def unregister(self, uuid: str) -> None:
        """Remove an actor's entry, if there is one."""
        self._remove(uuid)

    def find(self, name: str) -> list[Found]:
        """All actors of that name, the newest first."""
        entries = sorted(self._by_name.get(name, {}).values(), key=lambda e: e.serial, reverse=True)
        return [Found(entry.aid.name, entry.aid.uuid, list(entry.addresses)) for entry in entries]

    async def wait(self, name: str) -> list[Found]:
        """Like :meth:`find`, once there is one."""
        while not (found := self.find(name)):
            await self._waiters.setdefault(name, trio.Event()).wait()
        return found

    def refused(self, uuid: str, addresses: Sequence[str]) -> None:
        """Nobody answers at these addresses of an actor: take them out, and it with its last one."""
        entry = self._entries.get(uuid)
        if entry is None or entry.channel is None or not entry.channel.closed:
            # As long as its own channel is up it lives, and the fault is on the path of who asked.
            return
        entry.addresses = [address for address in entry.addresses if address not in addresses]
        if not entry.addresses:
            self._remove(uuid)

    @contextmanager
    def watching(self, prefix: str) -> Iterator[trio.MemoryReceiveChannel[tuple[str, str, list[str]]]]:
        """A memory channel of ``(event, name, addresses)``, beginning with what is registered now."""
        send, receive = trio.open_memory_channel[tuple[str, str, list[str]]](WATCH_BACKLOG)
        watcher = _Watcher(prefix, send)
        for entry in sorted(self._entries.values(), key=lambda e: e.serial):
            self._tell_one(watcher, "registered", entry)
        self._watchers.add(watcher)
        try:
            yield receive
        finally:
            self._watchers.discard(watcher)
            send.close()
            receive.close()

    def _remove(self, uuid: str, *, quietly: bool = False) -> None:
        entry = self._entries.pop(uuid, None)
        if entry is None:
            return
        namesakes = self._by_name[entry.aid.name]
        del namesakes[uuid]
        if not namesakes:
            del self._by_name[entry.aid.name]
        if entry.channel is not None:
            self._by_channel.get(entry.channel, set()).discard(uuid)
        if not quietly:
            self._tell("unregistered", entry)

    def _channel_closed(self, channel: Channel) -> None:
        for uuid in self._by_channel.pop(channel, set()):
            self._remove(uuid)

    def _tell(self, event: Event, entry: Entry) -> None:
        for watcher in list(self._watchers):
            self._tell_one(watcher, event, entry)

    def _tell_one(self, watcher: _Watcher, event: Event, entry: Entry) -> None:
        if not entry.aid.name.startswith(watcher.prefix):
            return
        try:
            watcher.send.send_nowait((event, entry.aid.name, list(entry.addresses)))
        except trio.WouldBlock:
            self._watchers.discard(watcher)
            watcher.send.close()

    # -- namespace "self" -------------------------------------------------------------------------

    async def _serve_register(self, channel: Channel, addresses: list[str]) -> None:
        # The identity is the one the peer proved; nobody registers another.
        self.register(channel.aid, [str(address) for address in addresses], channel)

    async def _serve_unregister(self, channel: Channel) -> None:
        self.unregister(channel.aid.uuid)

    async def _serve_find(self, channel: Channel, name: str) -> list[Found]:
        return self.find(name)

    async def _serve_wait(self, channel: Channel, name: str) -> list[Found]:
        return await self.wait(name)

    async def _serve_refused(self, channel: Channel, uuid: str, addresses: list[str]) -> None:
        self.refused(uuid, addresses)

    async def _serve_watch(self, channel: Channel, context: Context, prefix: str = "") -> None:
        with self.watching(prefix) as events:
            await context.started()
            async with context.open_stream(overflow="block") as stream:
                async for event in events:
                    await stream.send(event)


def __getattr__(name: str) -> Any:
    if name == "Arbiter":
        warnings.warn("Arbiter is now Registrar", DeprecationWarning, stacklevel=2)
        return Registrar
    raise AttributeError(name)
