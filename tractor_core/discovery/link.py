"""RegistryLink: an actor's standing with its registrar, kept up for as long as the actor lives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec
import trio

from tractor_core.errors import ContextCancelled, TractorError, TransportClosed
from tractor_core.ipc.channel import Channel
from tractor_core.log import get_logger
from tractor_core.runtime.actor import Actor
from tractor_core.runtime.dialling import dial
from tractor_core.runtime.portal import Portal
from tractor_core.seams import Address

from .registrar import Found, Registrar

log = get_logger("discovery")

T = TypeVar("T")

#: Seconds between attempts to reach a registrar that is gone: doubled from the first to the last.
FIRST_RETRY, LAST_RETRY = 0.1, 5.0

#: Seconds that a look-up waits for a registrar that is gone; as long as the longest wait between attempts.
PATIENCE = 5.0


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
        addresses = [address.advertised.url for address in self.actor.accept_addrs]
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
            if self.actor.cancel_called:
                # It is this actor that ends: nobody shall find it any more.
                return
            await self._reconnect()

    async def _reconnect(self) -> None:
        wait = FIRST_RETRY
        while not self.actor.cancel_called:
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
        """The first registrar that answers, in the order in which their addresses were given."""
        last: Exception = ConnectionRefusedError("this actor knows no registry address")
        for address in self.actor.reg_addrs:
            try:
                channel = await dial(self.actor, address)
            except (OSError, TractorError) as error:
                last = error
                continue
            if channel.aid.is_registrar:
                return channel
            await channel.aclose()
            last = ConnectionRefusedError(f"{channel.aid} at {address.url} is no registrar")
        raise last

    # -- questions --------------------------------------------------------------------------------

    def is_at(self, address: Address) -> bool:
        """Whether the registrar of this link is the one at ``address``, as far as is known."""
        if self.local is not None:
            own = self.actor.accept_addrs
            return address in [*own, *(bound.advertised for bound in own), *map(_as_given, own)]
        return self._channel is not None and not self._channel.closed and self._channel.raddr == address

    async def portal(self, patience: float = PATIENCE) -> Portal:
        """A portal to the registrar; waits for the link if it is down just now.

        ``TransportClosed`` when it is not up again after ``patience`` seconds.
        """
        with trio.move_on_after(patience):
            while self._channel is None or self._channel.closed:
                await self._changed.wait()
            return Portal(self.actor, self._channel)
        raise TransportClosed("the registrar is gone and does not come back")

    async def find(self, name: str) -> list[Found]:
        """All actors of that name, the newest first."""
        if self.local is not None:
            return self.local.find(name)
        return await self._ask(PATIENCE, "find", found, name=name)

    async def wait(self, name: str) -> list[Found]:
        """Like :meth:`find`, once there is one, across losses of the registrar."""
        if self.local is not None:
            return await self.local.wait(name)
        return await self._ask(float("inf"), "wait", found, name=name)

    async def refused(self, uuid: str, addresses: Sequence[str]) -> None:
        """Tell the registrar that nobody answered at these addresses."""
        if self.local is not None:
            await self.local.refused(uuid, addresses)
            return
        await self._ask(PATIENCE, "refused", lambda _: None, uuid=uuid, addresses=list(addresses))

    async def _ask(self, patience: float, question: str, convert: Callable[[Any], T], /, **kwargs: Any) -> T:
        """Ask the registrar, and ask again where it went away before it answered."""
        while True:
            portal = await self.portal(patience)
            try:
                return convert(await portal.run_from_ns("self", question, **kwargs))
            except TransportClosed:
                log.runtime("registrar lost before it answered; asking again")
            except ContextCancelled:
                # It is ending, and has cancelled what it served.
                await portal.chan.wait_closed()


def _as_given(address: Address) -> Address:
    """A bound address without what its listener added for others."""
    return msgspec.structs.replace(address, params=())


def found(value: Any) -> list[Found]:
    """The answer of a registrar, checked."""
    return msgspec.convert(value, list[Found])
