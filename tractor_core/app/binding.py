"""Listening: binding an actor's addresses and serving who dials them."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from tractor_core.ipc.endpoint import Endpoint
from tractor_core.runtime.actor import Actor
from tractor_core.runtime.dialling import transport_options
from tractor_core.seams import Address


class Listeners:
    """The endpoints of one actor."""

    def __init__(self, actor: Actor) -> None:
        self._actor = actor
        self._endpoints: list[Endpoint] = []
        self._scopes: list[trio.CancelScope] = []

    async def open(self, addresses: Sequence[Address]) -> None:
        """Listen at all of these, or at none: ``OSError`` of the first that cannot be bound."""
        actor = self._actor
        opened: list[Endpoint] = []
        try:
            for address in addresses:
                self._check_exposure(address)
                transport = actor.plugins.transport(address.scheme)
                listener = await transport.listen(address, transport_options(actor))
                opened.append(Endpoint(listener, actor.identity, actor.limits, actor.secrets, actor.tokens))
        except BaseException:
            with trio.CancelScope(shield=True):
                for endpoint in opened:
                    await endpoint.aclose()
            raise
        # All at once: what is not served yet when this is cancelled has to be closed too.
        self._endpoints.extend(opened)
        for endpoint in opened:
            await actor.network.start(self._serve, endpoint, name=f"listener {endpoint.address.url}")
            actor.accept_addrs.append(endpoint.address)

    async def _serve(self, endpoint: Endpoint, *, task_status: trio.TaskStatus[None]) -> None:
        with trio.CancelScope() as scope:
            self._scopes.append(scope)
            await endpoint.serve(self._actor.serve_channel, task_status=task_status)

    def _check_exposure(self, address: Address) -> None:
        """Refuse to be reachable from the network by whoever can read one user's cookie file elsewhere."""
        actor = self._actor
        transport = actor.plugins.transport(address.scheme)
        if actor.identity.key_explicit or transport.exposure(address) != "network":
            return
        uses_tls = getattr(transport, "uses_tls", None)
        if actor.tls is not None and uses_tls is not None and uses_tls(address):
            return
        raise ValueError(
            f"{address.url} can be reached from the network: give the tree a key of its own (auth_key= "
            "or TRACTOR_AUTH_KEY_FILE), or use a transport with certificates (tls://, and tls=), or bind a "
            "loopback address"
        )

    async def aclose(self) -> None:
        """Stop serving and remove what binding made."""
        for scope in self._scopes:
            scope.cancel()
        for endpoint in self._endpoints:
            await endpoint.aclose()
            if endpoint.address in self._actor.accept_addrs:
                self._actor.accept_addrs.remove(endpoint.address)
        self._scopes.clear()
        self._endpoints.clear()


def default_addresses(actor: Actor, taken: Sequence[Address] = ()) -> list[Address]:
    """An ephemeral address for each of the actor's transports that ``taken`` does not serve."""
    served = {address.scheme for address in taken}
    wanted = [scheme for scheme in actor.transports if scheme not in served]
    return [actor.plugins.transport(scheme).default_bind() for scheme in wanted]
