"""RegistryLink: an actor's standing with its registrar, kept up for as long as the actor lives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import trio

from tractor_core.errors import RemoteActorError, TractorError, TransportClosed
from tractor_core.ipc.channel import Channel
from tractor_core.log import get_logger
from tractor_core.runtime.actor import Actor
from tractor_core.runtime.dialling import dial, nearest_first
from tractor_core.runtime.portal import Portal

from .registrar import Found, Registrar

log = get_logger("discovery")

#: Seconds between attempts to reach a registrar that is gone: doubled from the first to the last.
FIRST_RETRY, LAST_RETRY = 0.1, 5.0


class RegistryLink:
    """Registers this actor, again whenever the registrar was lost, and asks it things.

    In the registrar itself the registry is asked directly.
    """

    def __init__(self, actor: Actor, *, registrar: Registrar | None = None) -> None:
        self.actor = actor
        self.local = registrar
        self._channel: Channel | None = None
        self._changed = trio.Event()

    def use(self, channel: Channel) -> None:
        """Take a channel that is there anyway (a parent that is the registrar)."""
        self._channel = channel

    async def register(self) -> None:
        """Register now; raises what keeps it from it."""
        addresses = [address.url for address in self.actor.accept_addrs]
        if self.local is not None:
            self.local.register(self.actor.aid, addresses, None)
            return
        if self._channel is None or self._channel.closed:
            self._channel = await self._dial()
        await Portal(self.actor, self._channel).run_from_ns("self", "register", addresses=addresses)

    async def keep(self) -> None:
        """Register again whenever the link is lost; for as long as the actor lives."""
        if self.local is not None:
            return
        while True:
            if self._channel is not None:
                await self._channel.wait_closed()
            await self._reconnect()

    async def _reconnect(self) -> None:
        wait = FIRST_RETRY
        while True:
            try:
                await self.register()
            except (OSError, TractorError) as error:
                log.runtime("registrar not reached, next attempt in %g s: %s", wait, error)
                await trio.sleep(wait)
                wait = min(wait * 2, LAST_RETRY)
            else:
                self._changed.set()
                self._changed = trio.Event()
                return

    async def _dial(self) -> Channel:
        last: Exception = ConnectionRefusedError("this actor knows no registry address")
        for address in nearest_first(self.actor, [address.url for address in self.actor.reg_addrs]):
            try:
                return await dial(self.actor, address)
            except (OSError, TractorError) as error:
                last = error
        raise last

    # -- questions --------------------------------------------------------------------------------

    async def portal(self) -> Portal:
        """A portal to the registrar; waits for the link if it is down just now."""
        while self._channel is None or self._channel.closed:
            with trio.move_on_after(LAST_RETRY) as scope:
                await self._changed.wait()
            if scope.cancelled_caught:
                raise TransportClosed("the registrar is gone and does not come back")
        return Portal(self.actor, self._channel)

    async def find(self, name: str) -> list[Found]:
        if self.local is not None:
            return self.local.find(name)
        return found(await (await self.portal()).run_from_ns("self", "find", name=name))

    async def wait(self, name: str) -> list[Found]:
        """Like :meth:`find`, once there is one, across losses of the registrar."""
        if self.local is not None:
            return await self.local.wait(name)
        while True:
            portal = await self.portal()
            try:
                return found(await portal.run_from_ns("self", "wait", name=name))
            except TransportClosed:
                log.runtime("registrar lost while waiting for %r; asking again", name)
            except RemoteActorError:
                if not portal.chan.closed:
                    raise

    async def refused(self, uuid: str, addresses: Sequence[str]) -> None:
        """Tell the registrar that nobody answered at these addresses."""
        if self.local is not None:
            self.local.refused(uuid, addresses)
            return
        portal = await self.portal()
        await portal.run_from_ns("self", "refused", uuid=uuid, addresses=list(addresses))


def found(value: Any) -> list[Found]:
    """The answer of a registrar, checked."""
    return msgspec.convert(value, list[Found])
