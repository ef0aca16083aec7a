"""Registrar: which actors there are, and where they listen."""

from __future__ import annotations

import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, Literal

import msgspec
import trio

from tractor_core.errors import TractorError, TransportClosed
from tractor_core.ipc.channel import Channel
from tractor_core.msg.types import Aid, Ping
from tractor_core.runtime.actor import Actor
from tractor_core.runtime.context import Context
from tractor_core.runtime.dialling import dial
from tractor_core.runtime.system import SystemEndpoint
from tractor_core.seams import parse_address

Event = Literal["registered", "unregistered"]

#: What a watcher gets: event, name, addresses.
Change = tuple[str, str, list[str]]

#: Addresses that one actor may register; one per transport and a few more are usual.
MAX_ADDRESSES = 64

#: Events a watcher may be behind before it is cut off, so that one that hangs costs no memory.
WATCH_BACKLOG = 10_000


class Found(msgspec.Struct):
    """One actor that a look-up found."""

    name: str
    uuid: str
    addresses: list[str]


class Entry(msgspec.Struct, eq=False):
    """One registered actor. ``channel`` is the one it registered over; None for the registrar itself."""

    aid: Aid
    addresses: list[str]
    channel: Channel | None
    serial: int


class _Watcher(msgspec.Struct, eq=False):
    prefix: str
    send: trio.MemorySendChannel[Change]
    #: It was cut off because it was too far behind.
    overrun: bool = False


class Registrar:
    """The registry. An actor's entry lives as long as the channel over which it was made."""

    def __init__(self, actor: Actor) -> None:
        self.actor = actor
        self._entries: dict[str, Entry] = {}
        self._by_name: dict[str, dict[str, Entry]] = {}
        self._by_channel: dict[Channel, set[str]] = {}
        self._watchers: set[_Watcher] = set()
        self._waiters: dict[str, set[trio.Event]] = {}
        self._serials = count()

    def serve(self) -> None:
        """Offer the registry in namespace ``self``, and list the registrar itself."""
        system = self.actor.system
        system.add("register", SystemEndpoint(self._serve_register, "asyncfunc"))
        system.add("unregister", SystemEndpoint(self._serve_unregister, "asyncfunc"))
        system.add("list", SystemEndpoint(self._serve_list, "asyncfunc"))
        system.add("find", SystemEndpoint(self._serve_find, "asyncfunc"))
        system.add("wait", SystemEndpoint(self._serve_wait, "asyncfunc"))
        system.add("refused", SystemEndpoint(self._serve_refused, "asyncfunc"))
        system.add("watch", SystemEndpoint(self._serve_watch, "context"))
        system.watch_channels(self._channel_closed)

    def retire(self) -> None:
        """Undo :meth:`serve`: this actor is no registrar after all."""
        for name in ("register", "unregister", "list", "find", "wait", "refused", "watch"):
            self.actor.system.remove(name)
        self.actor.system.unwatch_channels(self._channel_closed)

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
        for waiter in self._waiters.get(aid.name, ()):
            waiter.set()

    def unregister(self, uuid: str) -> None:
        """Remove an actor's entry, if there is one."""
        self._remove(uuid)

    def find(self, name: str) -> list[Found]:
        """All actors of that name, the newest first."""
        return self._found(self._by_name.get(name, {}).values())

    def listing(self) -> list[Found]:
        """All actors, the newest first."""
        return self._found(self._entries.values())

    def _found(self, entries: Iterable[Entry]) -> list[Found]:
        return [
            Found(entry.aid.name, entry.aid.uuid, list(entry.addresses))
            for entry in sorted(entries, key=lambda e: e.serial, reverse=True)
            # A channel that has closed takes its entries along a moment later.
            if entry.channel is None or not entry.channel.closed
        ]

    async def wait(self, name: str) -> list[Found]:
        """Like :meth:`find`, once there is one."""
        while not (found := self.find(name)):
            event = trio.Event()
            waiters = self._waiters.setdefault(name, set())
            waiters.add(event)
            try:
                await event.wait()
            finally:
                waiters.discard(event)
                if not waiters:
                    self._waiters.pop(name, None)
        return found

    async def refused(self, uuid: str, addresses: Sequence[str]) -> None:
        """Somebody was refused at these addresses of an actor: take out those that refuse this one too.

        One who asks from elsewhere may be refused by his own host or network; that is not everybody's
        loss. An actor with no address left is no longer listed.
        """
        for address in addresses:
            entry = self._entries.get(uuid)
            if entry is None or entry.channel is None or address not in entry.addresses:
                continue
            if await self._answers(entry, address):
                continue
            # Others may have found out the same meanwhile.
            if self._entries.get(uuid) is entry and address in entry.addresses:
                entry.addresses.remove(address)
                if not entry.addresses:
                    self._remove(uuid)

    async def _answers(self, entry: Entry, url: str) -> bool:
        """Whether that actor is at that address, as far as can be seen from here.

        One that computes answers nowhere just now: that is no reason to forget where it listens.
        """
        assert entry.channel is not None
        heard, begun = entry.channel.heard, trio.current_time()
        _ask_for_a_sign(entry.channel)
        try:
            address = self.actor.plugins.transport(parse_address(url).scheme).parse(url)
            channel = await dial(self.actor, address, expect_uuid=entry.aid.uuid)
        except (OSError, TractorError, ValueError):
            in_vain = trio.current_time() - begun >= self.actor.limits.handshake_timeout
            return in_vain and entry.channel.heard == heard
        await channel.aclose()
        return True

    @asynccontextmanager
    async def watching(self, prefix: str) -> AsyncIterator[AsyncIterator[Change]]:
        """An iterator of ``(event, name, addresses)``, beginning with what is registered now.

        It raises ``trio.TooSlowError`` when :data:`WATCH_BACKLOG` events wait for the one who iterates.
        """
        send, receive = trio.open_memory_channel[Change](max(WATCH_BACKLOG, len(self._entries)))
        watcher = _Watcher(prefix, send)
        for entry in sorted(self._entries.values(), key=lambda e: e.serial):
            self._tell_one(watcher, "registered", entry)
        self._watchers.add(watcher)
        changes = _changes(watcher, receive)
        try:
            yield changes
        finally:
            self._watchers.discard(watcher)
            send.close()
            receive.close()
            await changes.aclose()

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
            watcher.overrun = True
            self._watchers.discard(watcher)
            watcher.send.close()

    # -- namespace "self" -------------------------------------------------------------------------

    async def _serve_register(self, channel: Channel, addresses: list[str]) -> None:
        # The identity is the one of the channel; nobody registers another.
        if len(addresses) > MAX_ADDRESSES:
            raise ValueError(f"more than {MAX_ADDRESSES} addresses")
        # What others will be told must at least be an address.
        self.register(channel.aid, [parse_address(address).url for address in addresses], channel)

    async def _serve_unregister(self, channel: Channel) -> None:
        self.unregister(channel.aid.uuid)

    async def _serve_list(self, channel: Channel) -> list[Found]:
        return self.listing()

    async def _serve_find(self, channel: Channel, name: str) -> list[Found]:
        return self.find(name)

    async def _serve_wait(self, channel: Channel, name: str) -> list[Found]:
        return await self.wait(name)

    async def _serve_refused(self, channel: Channel, uuid: str, addresses: list[str]) -> None:
        await self.refused(uuid, addresses)

    async def _serve_watch(self, channel: Channel, context: Context, prefix: str = "") -> None:
        async with self.watching(prefix) as events:
            await context.started()
            async with context.open_stream(overflow="block") as stream:
                async for event in events:
                    await stream.send(event)


def _ask_for_a_sign(channel: Channel) -> None:
    """Have a peer say something, if its loop runs."""
    try:
        channel.post(Ping(0))
    except TransportClosed:
        pass  # its entry goes with it


async def _changes(
    watcher: _Watcher, receive: trio.MemoryReceiveChannel[Change]
) -> AsyncGenerator[Change, None]:
    async for change in receive:
        yield change
    if watcher.overrun:
        raise trio.TooSlowError(f"watch_actors() fell more than {WATCH_BACKLOG} events behind")


def __getattr__(name: str) -> Any:
    if name == "Arbiter":
        warnings.warn("Arbiter is now Registrar", DeprecationWarning, stacklevel=2)
        return Registrar
    raise AttributeError(name)
