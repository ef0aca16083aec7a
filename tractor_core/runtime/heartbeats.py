"""Heartbeats: one task of an actor that watches over all its channels."""

from __future__ import annotations

import math
from itertools import count

import trio

from tractor_core.errors import TransportClosed
from tractor_core.ipc.channel import Channel
from tractor_core.log import get_logger
from tractor_core.msg.types import Ping
from tractor_core.plugin.manager import PluginManager
from tractor_core.protocol.liveness import Finding, Heartbeat, Liveness

log = get_logger("runtime")


class Heartbeats:
    """Pings peers that say nothing, reports those that do not answer, gives up those that it is told to.

    Time that this actor's own loop did not run is not held against anybody.
    """

    def __init__(self, plugins: PluginManager) -> None:
        #: For channels that are given no other.
        self.default = Heartbeat()
        self._plugins = plugins
        self._watched: dict[Channel, Liveness] = {}
        self._serials = count(1)
        #: How long the task sleeps between two rounds; its deadline is the next one.
        self._tick = math.inf
        self._nap: trio.CancelScope | None = None

    def watch(self, channel: Channel, heartbeat: Heartbeat | None = None) -> None:
        """Look after a channel from now on, until :meth:`forget`."""
        heartbeat = heartbeat or self.default
        now = trio.current_time()
        self._watched[channel] = Liveness(heartbeat, now=now, heard=channel.heard)
        self._tick = min(self._tick, heartbeat.tick)
        if self._nap is not None:
            self._nap.deadline = min(self._nap.deadline, now + heartbeat.tick)

    def forget(self, channel: Channel) -> None:
        """The channel has ended."""
        self._watched.pop(channel, None)

    async def run(self) -> None:
        """Look at every channel, round after round; sleeps while there is none."""
        while True:
            with trio.CancelScope(deadline=trio.current_time() + self._tick) as self._nap:
                await trio.sleep_forever()
            self._nap = None
            now = trio.current_time()
            for channel, liveness in list(self._watched.items()):
                if not channel.closed:
                    self._look(channel, liveness, now)
            self._tick = min((each.heartbeat.tick for each in self._watched.values()), default=math.inf)

    def _look(self, channel: Channel, liveness: Liveness, now: float) -> None:
        finding = liveness.check(channel.heard, now)
        if finding is Finding.FINE:
            return
        if finding is Finding.PING_DUE:
            self._ping(channel)
        elif finding is Finding.UNRESPONSIVE:
            log.warning(
                "%s at %s has not answered for %.3g s: it computes, or is stopped; what it was asked waits",
                channel.aid,
                channel.raddr.url or channel.laddr.url,
                liveness.silence,
            )
            self._notify("tractor_peer_unresponsive", channel, liveness.silence)
        elif finding is Finding.RECOVERED:
            log.warning("%s answers again, after about %.3g s", channel.aid, liveness.lasted)
            self._notify("tractor_peer_recovered", channel, liveness.lasted)
        else:
            timeout = liveness.heartbeat.timeout
            channel.give_up(
                TransportClosed(
                    f"channel to {channel.aid}: nothing heard for {timeout:g} s (heartbeat_timeout)"
                )
            )

    def _ping(self, channel: Channel) -> None:
        try:
            channel.post(Ping(next(self._serials)))
        except TransportClosed:
            pass  # it ends at this moment

    def _notify(self, hook: str, channel: Channel, seconds: float) -> None:
        if self._plugins.has(hook):
            self._plugins.notify(hook, channel=channel, seconds=seconds)
