"""Who has come to a listener's door: every connection libzmq accepted, with or without a peer behind it.

libzmq accepts whoever dials and cannot be asked to wait, so what a listener does not want it hangs up on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from tractor_core.seams import Address, ThrottledLog, TransportOptions

from .descriptors import Wire, describe, hang_up, is_scarce

if TYPE_CHECKING:
    from .listening import RouterLink

#: How often overdue visitors are looked for, while there are any that could be (seconds).
_SWEEP_INTERVAL = 0.25


@dataclass(slots=True, eq=False)
class Visitor:
    """One descriptor that libzmq accepted. ``wire`` is None when it was gone before it was looked at."""

    descriptor: int
    wire: Wire | None
    #: When it must have said HELLO, or, parted from, must have gone (trio's clock).
    deadline: float = 0.0
    link: RouterLink | None = None
    #: It was told, or its end was told of, already.
    settled: bool = False

    @property
    def name(self) -> str:
        """For a log line."""
        return "(gone already)" if self.wire is None else self.wire.peer

    def hang_up(self) -> None:
        """End the connection."""
        if self.wire is not None:
            hang_up(self.descriptor, self.wire.inode)


class Visitors:
    """The visitors of one listener, by descriptor, and the times within which they must act."""

    def __init__(self, address: Address, options: TransportOptions) -> None:
        self._address = address
        self._options = options
        self._log = ThrottledLog()
        self._present: dict[int, Visitor] = {}
        #: Those that have to prove themselves, or to go; the oldest first.
        self._watched: dict[Visitor, None] = {}
        self._something_watched = trio.Event()
        #: Those that left without a word, as far as is known.
        self._departed: list[Visitor] = []

    def arrived(self, descriptor: int) -> None:
        """libzmq accepted a connection."""
        wire = describe(descriptor)
        visitor = self._present[descriptor] = Visitor(descriptor, wire)
        self.watch(visitor, self._options.connect_timeout)
        if wire is not None and is_scarce(descriptor):
            # libzmq 4.3 aborts the process when it finds no descriptor for a peer of a socket file.
            self.refuse(visitor, "descriptors are about to run out")
        elif len(self._present) > 2 * self._options.max_connections:
            self._drop_oldest_stranger()

    def left(self, descriptor: int, *, only_looked: bool = False) -> RouterLink | None:
        """libzmq gave a connection up; returns the peer that was behind it, if any.

        ``only_looked`` says that it was a :mod:`probe <tractor_zmq.probing>`, which is no news.
        """
        visitor = self._present.pop(descriptor, None)
        if visitor is None:
            return None
        self._watched.pop(visitor, None)
        if visitor.link is None and not visitor.settled and not only_looked:
            self._departed.append(visitor)
        return visitor.link

    def origin(self, descriptor: int) -> Visitor:
        """Who sent a message that came from this descriptor, which may have gone since."""
        visitor = self._present.get(descriptor)
        if visitor is not None:
            return visitor
        departed = (visitor for visitor in reversed(self._departed) if visitor.descriptor == descriptor)
        return next(departed, None) or Visitor(descriptor, None)

    def take_leave(self) -> None:
        """All messages that there are have been read: tell of those that left without one."""
        departed, self._departed = self._departed, []
        for visitor in departed:
            if visitor.link is None and not visitor.settled:
                self._tell(visitor, "it sent no HELLO through CURVE")

    def at(self, descriptor: int) -> Visitor:
        """Who has this descriptor now; one that is gone if nobody does."""
        return self._present.get(descriptor) or Visitor(descriptor, None)

    def present(self) -> list[Visitor]:
        """Everybody who has not gone yet."""
        return list(self._present.values())

    def watch(self, visitor: Visitor, seconds: float) -> None:
        """Hang up on it after so long, unless it was acquitted or has gone."""
        visitor.deadline = trio.current_time() + seconds
        self._watched[visitor] = None
        self._something_watched.set()

    def acquit(self, visitor: Visitor) -> None:
        """It has proved itself."""
        self._watched.pop(visitor, None)

    def refuse(self, visitor: Visitor, reason: str) -> None:
        """Hang up, and say why in the log, unless it had gone before anybody looked."""
        visitor.settled = True
        if visitor.wire is not None:
            self._tell(visitor, reason)
        visitor.hang_up()

    async def sweep_forever(self) -> None:
        """Hang up on those that do not say HELLO, and on those that do not go when told."""
        while True:
            await self._something_watched.wait()
            self._something_watched = trio.Event()
            while self._watched:
                await trio.sleep(_SWEEP_INTERVAL)
                now = trio.current_time()
                for visitor in [visitor for visitor in self._watched if visitor.deadline <= now]:
                    del self._watched[visitor]
                    visitor.hang_up()

    def _drop_oldest_stranger(self) -> None:
        for visitor in self._watched:
            if visitor.link is None:
                del self._watched[visitor]
                self.refuse(visitor, "too many connections are waiting")
                return

    def _tell(self, visitor: Visitor, reason: str) -> None:
        self._log.warning(reason, "%s refused peer %s: %s", self._address, visitor.name, reason)
