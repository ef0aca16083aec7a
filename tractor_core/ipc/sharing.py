"""Large messages to and from another process of this host, passed as memory instead of as bytes.

Each direction has memory of its own, of the sender's making. It is made when the first large message has
come the ordinary way: then the receiver invites the sender to lend (so it knows when to expect a
descriptor), which answers with its memory. From then on a large message is written there once, a small
one tells where it lies, and it is read in place. What finds no place goes the ordinary way: nobody waits.
"""

from __future__ import annotations

import mmap
import os
from collections import deque
from typing import Final

import trio

from tractor_core.errors import TransportClosed
from tractor_core.log import get_logger
from tractor_core.msg import types as m
from tractor_core.msg.codec import wire_codec
from tractor_core.msg.gathered import Gathered
from tractor_core.protocol.handshake import Peer
from tractor_core.protocol.lending import GRANULE, Borrower, Lender, LendingError
from tractor_core.seams import Connection, DescriptorConnection, as_passing
from tractor_core.seams.shared_memory import AVAILABLE, PeerMemory, can_hold, create_memory

from .limits import Limits

log = get_logger("ipc")

#: Messages longer than this (bytes) are lent, once there is memory: those of 40 KiB take half the time then
#: that they take through the socket. But only those that go in pieces are a reason to ask for memory.
WORTH_LENDING: Final = 32 * 1024

#: The part of the memory that one message may take. Writing 8 MiB keeps the actor busy for about a
#: millisecond, and several must find a place.
_LARGEST_PART: Final = 3

#: Places are given back when they make up this part of the memory: one message about several.
_BATCH_PART: Final = 16


def can_share(connection: Connection) -> bool:
    """Whether memory could be shared with who is at the other end, from what is known before it speaks."""
    facts = connection.facts
    return (
        AVAILABLE
        and as_passing(connection) is not None
        and facts.uid == os.geteuid()
        and facts.codec in (None, "msgpack")
    )


def sharing_with(peer: Peer, connection: Connection, limits: Limits) -> tuple[Lending, Borrowing] | None:
    """Both directions of a new channel; None where nothing is shared.

    That takes two actors of one user on one host, which have proved themselves as such, speak messagepack,
    and have said that they can.
    """
    passing = as_passing(connection)
    size = min(limits.shared_memory, peer.bounds.max_shared) // GRANULE * GRANULE
    if passing is None or not size or not can_share(connection):
        return None
    if peer.role != "tree" or peer.codec != "msgpack":
        return None
    return Lending(passing, size), Borrowing(passing, size, limits)


class Lending:
    """What this side lends."""

    def __init__(self, connection: DescriptorConnection, size: int) -> None:
        self._connection = connection
        self._size = size
        self._largest = size // _LARGEST_PART
        self._invited = False
        #: Of memory that the peer has not been told of yet.
        self._descriptor: int | None = None
        self._memory: mmap.mmap | None = None
        self._view = memoryview(b"")
        self._lender: Lender | None = None
        #: Messages lent until now.
        self.count = 0

    def invited(self) -> None:
        """Take the peer's ``Invite``. Without memory to be had everything goes on as before."""
        if self._invited:
            raise LendingError("invited to lend twice")
        self._invited = True
        try:
            self._descriptor, self._memory = create_memory(self._size)
        except OSError as error:
            log.info("no memory to share with %s: %s", self._connection.remote, error)
            return
        self._view = memoryview(self._memory)
        self.hand_over()

    @property
    def due(self) -> bool:
        """Whether :meth:`hand_over` is to be called when all that was taken has been written."""
        return self._descriptor is not None

    def hand_over(self) -> None:
        """Send the peer the memory, if that needs no waiting now."""
        descriptor = self._descriptor
        if descriptor is None:
            return
        try:
            sent = self._connection.send_descriptor(wire_codec().encode(m.Memory(self._size)), descriptor)
        except (TransportClosed, trio.ClosedResourceError):
            return  # the reader learns the same, and closes this
        if sent:
            self._descriptor = None
            os.close(descriptor)
            self._lender = Lender(self._size)

    def lend(self, message: bytes | Gathered) -> bytes | None:
        """Write an encoded message into the memory; what is sent instead, None where no place is free."""
        size = len(message)
        if self._lender is None or size > self._largest:
            return None
        start = self._lender.take(size)
        if start is None:
            return None
        at = start
        for piece in message.buffers if isinstance(message, Gathered) else (memoryview(message),):
            end = at + len(piece)
            self._view[at:end] = piece
            at = end
        self.count += 1
        return wire_codec().encode(m.Lend(start, size))

    def released(self, message: m.Release) -> None:
        """Take back what the peer has read."""
        if self._lender is None:
            raise LendingError("memory given back that was not lent")
        for start in message.starts:
            self._lender.give_back(start)

    def close(self) -> None:
        """Let go of the memory; what the peer still reads is there for as long as it does. Idempotent."""
        self._lender = None
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        self._view.release()
        if self._memory is not None:
            self._memory.close()
            self._memory = None


class Borrowing:
    """What this side is lent: in memory of ``size`` bytes, as a peer like this one makes it."""

    def __init__(self, connection: DescriptorConnection, size: int, limits: Limits) -> None:
        self._connection = connection
        self._size = size
        self._limits = limits
        self._batch = 0
        self._memory: PeerMemory | None = None
        self._borrower: Borrower | None = None
        self._inviting = False
        #: Places that nobody looks at any more; appended to by whatever thread finds that out.
        self.unused: deque[int] = deque()
        #: Of these, what the peer is to be told of next, and how many bytes that are.
        self._untold: list[int] = []
        self._untold_size = 0
        #: Messages borrowed until now.
        self.count = 0

    def invitation(self) -> m.Invite | None:
        """What asks the peer for memory; None when that was done, or this side could not take any now."""
        if self._inviting or not can_hold(self._size):
            return None
        self._inviting = True
        self._connection.expect_descriptor()
        return m.Invite()

    def take_memory(self, message: m.Memory) -> None:
        """Take what the peer will lend messages in."""
        if not self._inviting or self._borrower is not None:
            raise LendingError("memory that was not asked for")
        size = message.size
        if not 0 < size <= self._limits.shared_memory:
            raise LendingError(f"memory of {size} bytes, the limit is {self._limits.shared_memory}")
        descriptor = self._connection.take_descriptor()
        if descriptor is None:
            raise LendingError("memory without a descriptor")
        try:
            self._memory = PeerMemory(descriptor, size)
        except (ValueError, OSError) as error:
            raise LendingError(str(error)) from error
        self._borrower = Borrower(size, self._limits.max_payload)
        self._batch = size // _BATCH_PART

    def borrow(self, message: m.Lend) -> memoryview:
        """The encoded message that the peer has written; borrowed until nothing views it any more."""
        if self._borrower is None or self._memory is None:
            raise LendingError("a message in memory that was never shared")
        self._borrower.borrow(message.start, message.size)
        self.count += 1
        return self._memory.view(message.start, message.size, self.unused.append)

    def release(self, *, all_of_it: bool = False) -> m.Release | None:
        """What to give back now: not every single place, unless ``all_of_it`` is to be."""
        borrower = self._borrower
        if borrower is None:
            return None
        while self.unused:
            start = self.unused.popleft()
            self._untold.append(start)
            self._untold_size += borrower.give_back(start)
        if not self._untold or not (all_of_it or self._untold_size >= self._batch):
            return None
        starts, self._untold, self._untold_size = self._untold, [], 0
        return m.Release(starts)

    def close(self) -> None:
        """Borrow nothing more. Views that are left keep what they show, and the mapping. Idempotent."""
        self._borrower = self._memory = None
