"""Channel: messages to and from one authenticated peer, over whatever connection carries them.

One task reads (:meth:`Channel.run`), taking all that has arrived and handing each message, synchronously,
to the dialog it names. Without it a channel is *raw*: made by :meth:`Channel.from_addr`, and read by
:meth:`Channel.recv`.
"""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Protocol, TypeAlias
from uuid import uuid4

import msgspec
import trio

from tractor_core.errors import FrameTooLarge, MsgTooLarge, TransportClosed
from tractor_core.log import get_logger
from tractor_core.msg import types as m
from tractor_core.msg.boxing import brief, without_tracebacks
from tractor_core.msg.codec import Codecs, MsgCodec, wire_codec
from tractor_core.msg.gathered import Gathered, gather, may_gather
from tractor_core.plugin.manager import PluginManager
from tractor_core.protocol.chunks import BELOW, ChunkError, Joiner
from tractor_core.protocol.credit import Account
from tractor_core.protocol.handshake import Identity, Peer
from tractor_core.protocol.lending import LendingError
from tractor_core.seams import (
    Address,
    AddressLike,
    Buffer,
    Connection,
    Place,
    TLSConfig,
    TransportOptions,
    parse_address,
)
from tractor_core.seams.tls import load_tls

from .cookie import load_key
from .handshake import dial_handshake
from .limits import Limits
from .sending import NO_LANE, SendingHalf
from .sharing import WORTH_LENDING, Borrowing, sharing_with

log = get_logger("ipc")

#: Messages that may overtake a large one of their own dialog.
_URGENT = frozenset((m.Cancel, m.CancelAck, m.Credit))

#: What decoding raises for bytes that are no message; ``src_exc`` of the channel's end then.
NOT_A_MESSAGE = (msgspec.MsgspecError, ChunkError, LendingError, UnicodeDecodeError, RecursionError)

#: What reading and decoding raise when the channel cannot go on.
_ENDINGS = (
    trio.ClosedResourceError,
    TransportClosed,
    *NOT_A_MESSAGE,
)

#: May replace the reason for which a channel ended by a better one ("the child was killed").
Explain: TypeAlias = "Callable[[Channel, TransportClosed], Awaitable[TransportClosed]]"


class Sink(Protocol):
    """What a channel delivers a dialog's messages to."""

    def deliver(self, message: Any) -> None:
        """Take one message, synchronously."""
        ...

    def cut(self, error: TransportClosed) -> None:
        """The channel is gone."""
        ...


class Channel(SendingHalf):
    """A path for messages to one peer.

    ``dialogs`` maps context ids to whoever takes their messages. Context ids are even where this side
    dialled and odd where it accepted, so both can open dialogs without asking.
    """

    def __init__(self, connection: Connection, peer: Peer, limits: Limits, *, dialled: bool) -> None:
        self.codec = wire_codec(peer.codec)
        binary = self.codec.name == "msgpack"
        super().__init__(connection, self.codec.encode, limits.max_buffered, peer.bounds, binary=binary)
        self.peer = peer
        self.limits = limits
        self.dialled = dialled
        self.dialogs: dict[int, Sink] = {}
        #: Why it ended; None while it is open.
        self.closed_by: TransportClosed | None = None
        #: What :attr:`heard` was when a cancel was not acknowledged in time; None: that has not happened.
        self.unanswered: int | None = None
        #: Grows whenever something arrives: how it is seen that the peer lives.
        self.heard = 0
        #: Why this side ended it, taking the peer for dead: see :meth:`give_up`.
        self.given_up: TransportClosed | None = None
        #: Asked, when it ends, for a better reason before the dialogs are told.
        self.explain: Explain | None = None
        #: Logs what the peer does against the protocol: a format and its arguments.
        self.complain: Callable[..., None] = log.warning
        #: Whether errors go to the peer without saying where in the program they were raised.
        self.withhold_tracebacks = False
        #: See :meth:`apply_codec`.
        self.payload_codec: MsgCodec | None = None
        #: What the streams on this channel hold.
        self.account = Account(limits.max_buffered, limits.max_buffered // limits.max_dialogs)
        self._next_cid = 0 if dialled else 1
        self._largest = min(limits.max_payload, peer.bounds.max_payload or limits.max_payload)
        self._joiner = Joiner(limit=limits.max_payload, budget=limits.max_buffered)
        self._may_gather = binary
        if self._direct is not None:
            self._direct.placer = self._place
        self._borrowing: Borrowing | None = None
        #: Places in the peer's memory that nobody here looks at any more.
        self._unused: Collection[int] = ()
        if (sharing := sharing_with(peer, connection, limits)) is not None:
            self._lending, self._borrowing = sharing
            self._unused = self._borrowing.unused
        self._closing = False
        self._ended = trio.Event()
        self._reading = False
        # Raw use: what arrived and was not asked for yet, and who is at it.
        self._raw = False
        self._unread: deque[m.MsgType] = deque()
        self._receiving = False
        self._sending = False

    @classmethod
    async def from_addr(
        cls,
        address: AddressLike,
        *,
        auth_key: bytes | str | None = None,
        tls: TLSConfig | None = None,
        limits: Limits | None = None,
        plugins: PluginManager | None = None,
        name: str | None = None,
    ) -> Channel:
        """Dial an actor for raw use: its messages are sent with :meth:`send` and read with :meth:`recv`.

        No runtime is needed and none is involved; to call functions use ``open_portal()``. Raises
        ``OSError`` when nobody can be reached there, ``AuthenticationFailed`` when one side refuses the
        other, ``TransportClosed`` for what is no actor. Close it with ``async with`` or :meth:`aclose`.
        """
        limits = limits or Limits()
        key, explicit = load_key(auth_key, os.environ)
        aid = m.Aid(name or f"client-{os.getpid()}", str(uuid4()), os.getpid())
        parsed = parse_address(address)
        transport = (plugins or PluginManager.from_environment()).transport(parsed.scheme)
        options = TransportOptions(
            handshake_frame=limits.max_handshake_frame,
            connect_timeout=limits.handshake_timeout,
            key=key,
            tls=load_tls(tls, os.environ),
        )
        connection = await transport.connect(parsed, options)
        try:
            peer, leftover = await dial_handshake(connection, Identity(aid, key, explicit), limits)
        except BaseException:
            connection.abort()
            raise
        channel = cls(connection, peer, limits, dialled=True)
        channel._raw = True
        try:
            channel._keep(leftover)
        except _ENDINGS as error:
            channel._fail(channel._reason(error))
            raise channel._refusal() from None
        return channel

    # -- facts ------------------------------------------------------------------------------------

    @property
    def aid(self) -> m.Aid:
        """The peer's identity."""
        return self.peer.aid

    @property
    def uid(self) -> tuple[str, str]:
        """Deprecated: ``aid.uid``, the peer as the legacy pair."""
        warnings.warn("Channel.uid is now Channel.aid.uid", DeprecationWarning, stacklevel=2)
        return self.peer.aid.uid

    @property
    def shared(self) -> int:
        """Messages that were passed in shared memory until now, both ways together."""
        if self._lending is None or self._borrowing is None:
            return 0
        return self._lending.count + self._borrowing.count

    @property
    def laddr(self) -> Address:
        return self.connection.local

    @property
    def raddr(self) -> Address:
        return self.connection.remote

    def use_codecs(self, codecs: Codecs) -> None:
        """Encode and decode with the tree's own types from here on. For the runtime, before any dialog."""
        self.codec = codecs[self.codec.name]
        self._encode = self.codec.encode

    def unresponsive(self) -> bool:
        """Whether a cancel was not acknowledged in time, and nothing has been heard since."""
        return self.unanswered == self.heard

    def connected(self) -> bool:
        """Whether messages can be exchanged now."""
        return not self.closed

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        return f"<Channel to {self.aid} over {self.raddr.url or self.laddr.url} {state}>"

    # -- sending ----------------------------------------------------------------------------------

    def new_cid(self) -> int:
        """A context id for a dialog opened here."""
        cid = self._next_cid
        self._next_cid = cid + 2
        return cid

    def encode(self, message: m.Message) -> bytes | Gathered:
        """Encode for this peer; ``MsgTooLarge`` over ``Limits.max_payload``, its or this side's,
        ``TypeError`` or ``ValueError`` naming the path for what cannot be encoded."""
        if self.withhold_tracebacks and type(message) is m.Error:
            message = m.Error(message.cid, without_tracebacks(message.error))
        frame: bytes | Gathered | None = None
        if self._may_gather and may_gather(message):
            frame = gather(message, self._encode)
        if frame is None:
            frame = self._encode(message)
        if len(frame) > self._largest:
            if type(message) is m.Error:
                return self._encode(m.Error(message.cid, brief(message.error)))
            raise self._too_large(len(frame))
        return frame

    @property
    def overfull(self) -> bool:
        """Whether so much waits for the peer to take it that nothing more is done for it.

        Of results one may be as large as any message, as everywhere, and does not count.
        """
        if not self._queue and not self.withheld:
            return False
        limits = self.limits
        most = limits.max_buffered
        return self.backlog > most or self.withheld > most + limits.max_payload

    def _too_large(self, size: int) -> MsgTooLarge:
        limit = self._largest
        whose = "this actor's" if limit == self.limits.max_payload else f"{self.aid}'s"
        return MsgTooLarge(
            f"message of {size} bytes is over the limit of {limit} ({whose} Limits.max_payload)",
            size=size,
            limit=limit,
        )

    def post(self, message: m.Message, *, lazy: bool = False) -> None:
        """Send without waiting. ``lazy`` messages wait for the next one, or the end of the tick.

        Raises ``TransportClosed`` when the channel has ended, and what :meth:`encode` raises.
        """
        self.post_encoded(self.encode(message), message, lazy=lazy)

    def post_encoded(self, frame: bytes | Gathered, message: m.Message, *, lazy: bool = False) -> None:
        """Like :meth:`post`, of what :meth:`encode` has made of ``message``."""
        cid: int = getattr(message, "cid", NO_LANE)
        if type(message) in _URGENT and cid not in self._starting:
            cid = NO_LANE
        self.post_frame(frame, cid, lazy=lazy)
        if type(message) is m.Start and cid in self._lanes:
            self._starting.add(cid)

    def _refusal(self) -> TransportClosed:
        return self.closed_by or self.given_up or TransportClosed(f"channel to {self.aid} is closed")

    @contextmanager
    def apply_codec(self, codec: MsgCodec) -> Iterator[MsgCodec]:
        """Use ``codec`` for the payloads of dialogs opened on this channel during the block.

        It goes before the one that ``tractor_core.msg.apply_codec()`` put in force for a task.
        """
        previous, self.payload_codec = self.payload_codec, codec
        try:
            yield codec
        finally:
            self.payload_codec = previous

    # -- receiving --------------------------------------------------------------------------------

    async def run(self, dispatch: Callable[[Channel, Any], None], leftover: Sequence[Buffer] = ()) -> None:
        """Read and write until the channel ends; returns when it has ended, whatever the reason.

        ``dispatch(channel, message)`` takes each message that names no dialog of ``dialogs``; ``leftover``
        are frames that came with the handshake.
        """
        self._reading = True
        error = TransportClosed(f"channel to {self.aid} was closed")
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._flush_guarded, nursery.cancel_scope)
                error = await self._read(dispatch, leftover)
                nursery.cancel_scope.cancel()
        finally:
            self.connection.abort()
            error = self.given_up or error
            if self.explain is not None and not self._closing:
                with trio.CancelScope(shield=True):
                    error = await self.explain(self, error)
            self._end(error)

    async def _flush_guarded(self, scope: trio.CancelScope) -> None:
        try:
            await self._flush_forever()
        except (TransportClosed, trio.ClosedResourceError):
            # The read side ends with the same reason; it may have frames left to deliver first.
            self._drained.unpark_all()
            await trio.sleep_forever()

    async def _read(
        self, dispatch: Callable[[Channel, Any], None], frames: Sequence[Buffer]
    ) -> TransportClosed:
        answers = 0
        try:
            while True:
                before = self.backlog if self._queue else 0
                decode = self.codec.decode
                for frame in frames:
                    message: Any = decode(frame)
                    if type(message) in BELOW and (message := self._passed(message)) is None:
                        continue
                    sink = self.dialogs.get(getattr(message, "cid", -1))
                    if sink is None:
                        dispatch(self, message)
                    else:
                        sink.deliver(message)
                # What was said in reply and not taken since: a peer that only asks must not fill this side.
                answers = answers + self.backlog - before if self._queue else 0
                if answers > self.limits.max_buffered:
                    return self._takes_no_answers(answers)
                frames = await self.connection.receive()
                if not frames:
                    return TransportClosed(f"channel to {self.aid} was closed by the peer")
                self.heard += 1
                if self._unused:
                    self._release()
        except _ENDINGS as error:
            return self._reason(error)

    def _decode(self, frame: Buffer) -> Any:
        """The message in a frame; None where that only helps to pass another one."""
        message = self.codec.decode(frame)
        return self._passed(message) if type(message) in BELOW else message

    def _passed(self, message: Any) -> Any:
        """The message that a message of :data:`.BELOW` completes, if it does."""
        whole = self._take(message)
        if whole is None:
            return None
        inner = self.codec.decode(whole)
        if type(inner) in BELOW:
            outer = type(message).__name__.lower()
            raise ChunkError(f"a {type(inner).__name__.lower()} inside a {outer}")
        return inner

    def _take(self, message: Any) -> Buffer | None:
        """Take a message of :data:`.BELOW`; the encoded message that is complete with it."""
        kind = type(message)
        lending, borrowing = self._lending, self._borrowing
        if kind is m.Chunk:
            if borrowing is not None and message.size:
                # The peer may have sent it this way because it has no memory left, or none yet.
                self._release(all_of_it=True)
                if not self.closed and (invitation := borrowing.invitation()) is not None:
                    self.post(invitation)
            return self._joiner.add(message)
        if lending is None or borrowing is None:
            raise LendingError(f"{kind.__name__} where no memory is shared")
        if kind is m.Lend:
            return borrowing.borrow(message)
        if kind is m.Release:
            lending.released(message)
        elif kind is m.Invite:
            lending.invited()
            self._lend_from = min(self.whole_up_to, WORTH_LENDING)
        else:
            borrowing.take_memory(message)
        return None

    def _release(self, *, all_of_it: bool = False) -> None:
        """Give back memory that was read.

        Done when something arrives, for only then can the peer use it; so nothing has to happen at the
        moment in which a view ends, in whatever thread that is.
        """
        release = None if self._borrowing is None else self._borrowing.release(all_of_it=all_of_it)
        if release is not None and not self.closed:
            self.post(release, lazy=True)

    def _place(self, frame: memoryview, length: int) -> Place | None:
        """Where a piece of a large message belongs; it shows that the peer lives like all that comes."""
        self.heard += 1
        return self._joiner.place(frame, length)

    def _reason(self, error: Exception) -> TransportClosed:
        """Why the channel ends, from what reading or decoding raised."""
        if isinstance(error, trio.ClosedResourceError):
            return TransportClosed(f"channel to {self.aid} was closed here")
        if isinstance(error, FrameTooLarge):
            return TransportClosed(f"channel to {self.aid}: {error}", src_exc=error)
        if isinstance(error, TransportClosed):
            return error
        return TransportClosed(f"channel to {self.aid}: not a message: {error}", src_exc=error)

    def _takes_no_answers(self, size: int) -> TransportClosed:
        return TransportClosed(
            f"channel to {self.aid}: it takes no answers, {size} bytes of them wait (Limits.max_buffered)"
        )

    # -- raw use ----------------------------------------------------------------------------------

    async def send(self, message: m.MsgType) -> None:
        """Send one message and wait until it has been handed to the transport.

        Raises ``TransportClosed`` when the channel has ended, ``trio.BusyResourceError`` when another task
        is in here, and what :meth:`encode` raises. Where the waiting is cancelled, it is still sent: by who
        is next in here, in :meth:`recv` or in :meth:`aclose`.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this channel")
        self.post(message)
        if not self._raw:
            await self.drained()
            return
        self._sending = True
        try:
            await self._flush_in_turn()
        except trio.ClosedResourceError as error:
            raise self._refusal() from error
        finally:
            self._sending = False
        if self._lost:
            raise self._refusal()

    async def recv(self) -> m.MsgType:
        """The next message, its payload undecoded (``channel.codec.decode_payload`` decodes one).

        Answers pings, and writes, while it waits, what could not be written before. ``RuntimeError`` where
        an actor's runtime reads this channel, ``trio.BusyResourceError`` when another task is in here,
        ``TransportClosed`` once the channel has ended.
        """
        if not self._raw:
            raise RuntimeError(f"the runtime reads this channel to {self.aid}; use a portal")
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this channel")
        await trio.lowlevel.checkpoint_if_cancelled()
        self._receiving = True
        try:
            while not self._unread:
                if self.closed_by is not None:
                    raise self.closed_by
                await self._flush_beside(self._take_in)
        finally:
            self._receiving = False
        return self._unread.popleft()

    def __aiter__(self) -> Channel:
        return self

    async def __anext__(self) -> m.MsgType:
        """Messages until the channel ends."""
        try:
            return await self.recv()
        except TransportClosed as error:
            if error.src_exc is not None:
                raise
            raise StopAsyncIteration from None

    async def _take_in(self) -> None:
        """Wait for frames and keep their messages, or end the channel."""
        try:
            frames = await self.connection.receive()
            if not frames:
                raise TransportClosed(f"channel to {self.aid} was closed by the peer")
            self._keep(frames)
        except _ENDINGS as error:
            self._fail(self._reason(error))
        if self._unwritten():
            # Answers go out now, as far as they can: nobody knows when this is called again.
            with suppress(TransportClosed, trio.ClosedResourceError), trio.move_on_after(0):
                await self._flush_in_turn()

    def _keep(self, frames: Sequence[Buffer]) -> None:
        self._release()
        for frame in frames:
            message = self._decode(frame)
            if type(message) is m.Ping:
                # As an actor's runtime would: who reads here has dialogs in mind, and is alive.
                self.post(m.Pong(message.serial))
                if self.overfull:
                    raise self._takes_no_answers(self.backlog)
            elif message is not None:
                self._unread.append(message)

    def _fail(self, error: TransportClosed) -> None:
        self.connection.abort()
        self._end(error)

    # -- ending -----------------------------------------------------------------------------------

    def _end(self, error: TransportClosed) -> None:
        if self.closed_by is not None:
            return
        self.closed = True
        self.closed_by = error
        dialogs, self.dialogs = self.dialogs, {}
        for sink in dialogs.values():
            sink.cut(error)
        self._lose()
        if self._lending is not None and self._borrowing is not None:
            self._lending.close()
            self._borrowing.close()
        self._ended.set()

    async def wait_closed(self) -> TransportClosed:
        """Wait until the channel has ended, and return why."""
        await self._ended.wait()
        assert self.closed_by is not None
        return self.closed_by

    def abort(self) -> None:
        """End the channel at once; what is queued is lost."""
        self._closing = self.closed = True
        self.connection.abort()
        if not self._reading:
            self._end(TransportClosed(f"channel to {self.aid} was closed here"))

    def give_up(self, reason: TransportClosed) -> None:
        """End the channel at once for ``reason``: its peer is taken for dead, and asked nothing more."""
        if not self.closed:
            self.given_up = reason
            self.closed = True
            self.connection.abort()

    async def aclose(self, timeout: float = 0.5) -> None:
        """Hand over what was posted (waiting at most ``timeout`` seconds), then close. Idempotent."""
        try:
            if not self.closed:
                with trio.move_on_after(timeout):
                    await (self.drained() if self._reading else self._flush_in_turn())
        except (TransportClosed, trio.ClosedResourceError):
            pass  # the peer has gone: nobody is left to hand it to
        finally:
            self._closing = self.closed = True
            with trio.CancelScope(shield=True):
                await self.connection.aclose()
            if not self._reading:
                self._end(TransportClosed(f"channel to {self.aid} was closed here"))

    async def __aenter__(self) -> Channel:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
