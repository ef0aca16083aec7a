"""One receive channel, many consumers: each sees every value, and nobody waits for the slowest."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Final, Generic, Protocol, TypeVar

import trio
from trio.abc import ReceiveChannel

log = logging.getLogger("tractor_core.trionics")

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Lagged(trio.TooSlowError):
    """This consumer was so slow that values were dropped for it; ``missed`` says how many.

    Raised once per gap. The next receive gives the oldest value that is still kept.
    """

    def __init__(self, message: str, *, missed: int = 0) -> None:
        super().__init__(message)
        self.missed = missed


class Receiver(Protocol[T_co]):
    """What can be broadcast: anything with an awaitable ``receive()``, such as a ``trio`` channel."""

    async def receive(self) -> T_co: ...


#: Raised by the source without being its end: by two tasks in it at once, or by its own lag.
_PASSING = (trio.BusyResourceError, Lagged)


class _Shared(Generic[T]):
    """What all receivers of one source share: the values kept, and who is waiting for the next.

    Invariant: parked tasks exist only while another task is inside the source. Whenever that ends,
    in whatever way, all of them are woken and look again; so no hand-over can be lost, also when the
    one who should take over is itself cancelled.
    """

    def __init__(
        self, source: Receiver[T], receive: Callable[[], Awaitable[T]], max_buffer_size: int
    ) -> None:
        self.source: Final = source
        self.receive: Final = receive
        self.kept: Final[deque[T]] = deque(maxlen=max_buffer_size)
        #: Number of the value that comes next; ``kept`` ends just before it.
        self.next = 0
        #: Whose task is inside the source now, and the scope in which it is.
        self.inside: BroadcastReceiver[T] | None = None
        self.scope: trio.CancelScope | None = None
        self.waiting: Final = trio.lowlevel.ParkingLot()
        #: How the source ended, with the traceback it had then.
        self.end: Exception | None = None
        self.end_traceback: TracebackType | None = None

    @property
    def oldest(self) -> int:
        """The number of the oldest value that is kept."""
        return self.next - len(self.kept)

    def add(self, value: T) -> None:
        self.kept.append(value)
        self.next += 1
        self.waiting.unpark_all()

    def finish(self, exc: Exception) -> None:
        self.end, self.end_traceback = exc, exc.__traceback__
        self.waiting.unpark_all()

    def raise_end(self) -> None:
        """Raise how the source ended, if it did. Every consumer gets the same object, so the traceback
        is put back to what it was, or it would grow with each of them."""
        if self.end is not None:
            raise self.end.with_traceback(self.end_traceback)

    async def pull(self, receiver: BroadcastReceiver[T]) -> None:
        """Wait for one value, or the end, on behalf of all. Only one task at a time may be here."""
        self.inside = receiver
        try:
            with trio.CancelScope() as self.scope:
                self.add(await self.receive())
        except _PASSING:
            raise
        except Exception as exc:
            self.finish(exc)
        finally:
            self.inside = self.scope = None
            self.waiting.unpark_all()


class BroadcastReceiver(ReceiveChannel[T]):
    """One consumer of a broadcast; made by :func:`broadcast_receiver` and :meth:`subscribe`.

    The source is read by whichever consumer needs a value first, so it is read as fast as the fastest
    consumes, and never ahead of it. Several tasks may receive from one consumer; each
    value goes to one of them. Set ``raise_on_lag`` to False to have gaps logged instead of raised.
    """

    def __init__(self, shared: _Shared[T], *, raise_on_lag: bool = True) -> None:
        self._shared = shared
        self._position = shared.next
        self._closed = False
        self.raise_on_lag = raise_on_lag

    async def receive(self) -> T:
        """The next value.

        Raises :class:`Lagged` once when values were dropped for this consumer, ``trio.EndOfChannel`` or the
        error of the source after what is kept has been consumed, ``trio.ClosedResourceError`` once
        this consumer is closed. Cancelling loses no value.
        """
        shared = self._shared
        await trio.lowlevel.checkpoint_if_cancelled()
        waited = False
        while not self._ready():
            waited = True
            if shared.inside is None:
                await shared.pull(self)
            else:
                await shared.waiting.park()
        if self._lags() and not waited:
            # Others have their turn before the gap is told of: after it, they would drop what comes next.
            waited = True
            await trio.lowlevel.checkpoint()
        # The value is taken in the same step in which it was found, and nothing after may be cancelled.
        try:
            return self._take()
        finally:
            if not waited:
                await trio.lowlevel.cancel_shielded_checkpoint()

    def receive_nowait(self) -> T:
        """The next value if there is one now, else ``trio.WouldBlock``; errors as for :meth:`receive`.

        Reads the source only where it has a ``receive_nowait()`` itself and no task is waiting in it.
        """
        shared = self._shared
        if not self._ready():
            receive_nowait = getattr(shared.source, "receive_nowait", None)
            if shared.inside is not None or receive_nowait is None:
                raise trio.WouldBlock
            try:
                value: T = receive_nowait()
            except (trio.WouldBlock, *_PASSING):
                raise
            except Exception as exc:
                shared.finish(exc)
            else:
                shared.add(value)
        return self._take()

    @asynccontextmanager
    async def subscribe(self, raise_on_lag: bool | None = None) -> AsyncGenerator[BroadcastReceiver[T], None]:
        """Another consumer, of the values received from now on; closed on leaving.

        ``raise_on_lag`` is this consumer's own unless given.
        """
        if self._closed:
            raise trio.ClosedResourceError
        lag = self.raise_on_lag if raise_on_lag is None else raise_on_lag
        receiver = BroadcastReceiver(self._shared, raise_on_lag=lag)
        try:
            yield receiver
        finally:
            receiver._close()

    async def aclose(self) -> None:
        """Close this consumer; the source and the other consumers are not touched. Idempotent.

        Tasks inside its ``receive()`` get ``trio.ClosedResourceError``.
        """
        self._close()
        await trio.lowlevel.checkpoint()

    def _close(self) -> None:
        self._closed = True
        shared = self._shared
        if shared.inside is self and shared.scope is not None:
            shared.scope.cancel()
        shared.waiting.unpark_all()

    def _ready(self) -> bool:
        """Whether :meth:`_take` has something to return or raise."""
        return self._closed or self._position < self._shared.next or self._shared.end is not None

    def _lags(self) -> bool:
        return self._position < self._shared.oldest

    def _take(self) -> T:
        shared = self._shared
        if self._closed:
            raise trio.ClosedResourceError
        if self._position == shared.next:
            shared.raise_end()
        oldest = shared.oldest
        if self._position < oldest:
            missed, self._position = oldest - self._position, oldest
            message = f"a consumer fell behind by more than {shared.kept.maxlen} values and missed {missed}"
            if self.raise_on_lag:
                raise Lagged(message, missed=missed)
            log.warning("%s", message)
        value = shared.kept[self._position - oldest]
        self._position += 1
        return value


def broadcast_receiver(
    recv_chan: Receiver[T],
    max_buffer_size: int,
    *,
    raise_on_lag: bool = True,
    receive_afunc: Callable[[], Awaitable[T]] | None = None,
) -> BroadcastReceiver[T]:
    """Make the first consumer of a broadcast of what ``recv_chan`` receives.

    Up to ``max_buffer_size`` values (at least 1) are kept for slower consumers. ``receive_afunc`` is
    called in place of ``recv_chan.receive``; it must lose nothing when cancelled. From now on,
    nobody else may receive from the source; closing it remains its owner's business.
    """
    if isinstance(max_buffer_size, bool) or not isinstance(max_buffer_size, int):
        raise TypeError(f"max_buffer_size must be an int, not {max_buffer_size!r}")
    if max_buffer_size < 1:
        raise ValueError(f"max_buffer_size must be at least 1, not {max_buffer_size}")
    shared = _Shared(recv_chan, receive_afunc or recv_chan.receive, max_buffer_size)
    return BroadcastReceiver(shared, raise_on_lag=raise_on_lag)
