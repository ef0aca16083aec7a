"""Portal: the capability to run things in a peer's memory domain."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import GenericAlias
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Never, ParamSpec, overload

import trio

from tractor_core.errors import ActorTooSlowError, NoResult, TransportClosed
from tractor_core.ipc.channel import Channel
from tractor_core.log import get_logger
from tractor_core.msg import types as m
from tractor_core.msg.namespace import Functype, context_mark

from .call import call
from .callees import Callee
from .context import Context
from .contextual import is_stream_function
from .link import Overflow
from .opening import make_context, opened
from .parking import Slot
from .payload import codec_in_force
from .stream import MsgStream

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    from .actor import Actor

    MainT = TypeVar("MainT", default=Any)
else:
    # As in the module of streams: only type checkers need the default.
    from typing import TypeVar

    MainT = TypeVar("MainT")

log = get_logger("runtime")

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")
T = TypeVar("T")
U = TypeVar("U")


class Portal(Generic[MainT]):
    """Calls into one peer. Made by spawning, discovery and ``open_portal()``; not by users.

    ``Portal[Main]`` names the result of a run-once actor's task, for type checkers.
    """

    if not TYPE_CHECKING:
        __class_getitem__ = classmethod(GenericAlias)

    #: Seconds that :meth:`cancel_actor` waits for the acknowledgement.
    cancel_timeout = 0.5

    def __init__(self, actor: Actor, channel: Channel) -> None:
        self._actor = actor
        self.chan = channel
        #: Set by the nursery for a run-once actor.
        self.main_result: Callable[[], Awaitable[Any]] | None = None

    @property
    def channel(self) -> Channel:
        """The legacy spelling of ``chan``."""
        return self.chan

    def __repr__(self) -> str:
        return f"<Portal to {self.chan.aid}>"

    # -- calls ------------------------------------------------------------------------------------

    @overload
    async def run(
        self, fn: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> R: ...
    @overload
    async def run(self, fn: str, fn_name: str, /, **kwargs: Any) -> Any: ...
    async def run(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Run an async function of an exposed module in the peer and return its result.

        Arguments arrive as the types that the function's annotations name, and so does the result.
        Raises ``TypeError`` for what is not a module-level async function, ``ModuleNotExposed`` where the
        peer does not expose it, ``MsgTypeError`` for arguments that do not fit its signature,
        ``RemoteActorError`` for what it raised, ``TransportClosed`` (``ActorDied``) when the peer goes
        away. Cancelling this call cancels the remote task first.
        """
        if isinstance(fn, str):
            return await self._run_by_name(fn, *args, **kwargs)
        actor, channel = self._actor, self.chan
        callee = actor.callees.get(fn, "asyncfunc")
        outcome = await call(actor, channel, callee.target, "asyncfunc", args, kwargs)
        return callee.result_decoder(channel)(outcome.pld)

    async def _run_by_name(self, module: str, /, *args: Any, **kwargs: Any) -> Any:
        warnings.warn(
            "Portal.run('module', 'function') is now Portal.run(function)", DeprecationWarning, stacklevel=3
        )
        if len(args) != 1 or not isinstance(args[0], str):
            raise TypeError("run('module', 'function', **kwargs) takes a module and the name of a function")
        return await self.run_from_ns(module, args[0], **kwargs)

    async def run_from_ns(self, namespace: str, name: str, /, **kwargs: Any) -> Any:
        """Run ``namespace:name``; namespace ``"self"`` is the peer's runtime, restricted to a fixed list."""
        outcome = await call(self._actor, self.chan, f"{namespace}:{name}", "asyncfunc", (), kwargs)
        codec = codec_in_force(self.chan) or self.chan.codec
        return codec.decode_payload(outcome.pld)

    # -- contexts ---------------------------------------------------------------------------------

    @overload
    def open_context(
        self,
        fn: Callable[Concatenate[Context[S, T, U], P], Coroutine[Any, Any, R]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> AbstractAsyncContextManager[tuple[Context[T, S, U, R], U]]: ...
    @overload
    def open_context(
        self,
        fn: Callable[Concatenate[Context[S, T, U], ...], Coroutine[Any, Any, R]],
        /,
        *args: Any,
        allow_overruns: bool,
        **kwargs: Any,
    ) -> AbstractAsyncContextManager[tuple[Context[T, S, U, R], U]]: ...
    def open_context(  # type: ignore[misc]  # no endpoint may have a parameter named allow_overruns
        self, fn: Any, /, *args: Any, allow_overruns: bool = False, **kwargs: Any
    ) -> AbstractAsyncContextManager[tuple[Context, Any]]:
        """Start a ``@context`` function in the peer and run a block beside it: yields ``(context, first)``.

        ``first`` is what the function handed to ``started()``. The block ends no earlier than the remote
        task: its error is raised here, an error or cancellation of the block cancels it.
        ``allow_overruns`` makes this side's half of the stream buffer without bound by default.
        """
        callee = self._actor.callees.get(fn, "context")
        context = self._context(fn, callee, "buffer" if allow_overruns else "raise")
        return opened(context, callee.target, args, kwargs)

    def _context(self, fn: Any, callee: Callee, overflow: Overflow) -> Context:
        return make_context(
            self._actor,
            self.chan,
            callee.functype,
            mark=context_mark(fn),
            signature=callee.signature,
            overflow=overflow,
            portal=self,
        )

    def open_system_context(
        self, name: str, **kwargs: Any
    ) -> AbstractAsyncContextManager[tuple[Context, Any]]:
        """Open a context to one of the runtime's own endpoints (namespace ``self``)."""
        context = make_context(self._actor, self.chan, "context", overflow="block", portal=self)
        return opened(context, f"self:{name}", (), kwargs)

    @asynccontextmanager
    async def open_stream_from(
        self, fn: Callable[P, AsyncIterator[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> AsyncIterator[MsgStream[Never, R]]:
        """Run an async generator function in the peer; yields a receive-only stream of its values.

        The generator waits when the receiver lags. Leaving the block closes the remote generator.
        """
        functype: Functype = "context" if is_stream_function(fn) else "asyncgen"
        callee = self._actor.callees.get(fn, functype)
        context = self._context(fn, callee, "block")
        async with opened(context, callee.target, args, kwargs):
            async with context.open_stream(overflow="block") as stream:
                yield stream
            await context.cancel()

    # -- the peer itself --------------------------------------------------------------------------

    async def wait_for_result(self, hide_tb: bool = True) -> MainT:
        """The result of a run-once actor's task, or its error; the same every time.

        For an actor without a main task this warns and returns ``NoResult``.
        """
        if self.main_result is None:
            warnings.warn(f"{self.chan.aid} is a daemon actor: it has no result", UserWarning, stacklevel=2)
            return NoResult  # type: ignore[return-value]  # a daemon's portal is a Portal[Any]
        result: MainT = await self.main_result()
        return result

    async def result(self) -> MainT:
        """Deprecated name of :meth:`wait_for_result`."""
        warnings.warn("Portal.result() is now Portal.wait_for_result()", DeprecationWarning, stacklevel=2)
        return await self.wait_for_result()

    async def cancel_actor(self, timeout: float | None = None, raise_on_timeout: bool = False) -> bool:
        """Ask the peer's whole runtime to end; True if it acknowledged within ``timeout`` seconds.

        The default is :attr:`cancel_timeout`. ``raise_on_timeout`` raises ``ActorTooSlowError`` instead of
        returning False.
        """
        if timeout is None:
            timeout = self.cancel_timeout
        reached = self.chan.connected()
        try:
            acked = await request_end(self._actor, self.chan, timeout)
        finally:
            # Also where the caller has given up: the request is out.
            on_end_asked = self._actor.on_end_asked.get(self.chan.aid.uuid)
            if on_end_asked is not None:
                on_end_asked(self.chan, reached)
        if not acked and raise_on_timeout:
            raise ActorTooSlowError(f"{self.chan.aid} did not acknowledge the cancel of its runtime in time")
        return acked

    async def aclose(self) -> None:
        """Close the channel; whatever it carries ends with ``TransportClosed`` on both sides."""
        await self.chan.aclose()


class _EndRequest:
    """Sink for the answer to a runtime-wide cancel."""

    def __init__(self) -> None:
        self.acked: bool | None = None
        self._slot = Slot()

    def deliver(self, message: Any) -> None:
        if isinstance(message, m.CancelAck):
            self.acked = message.ok
            self._slot.unpark()

    def cut(self, error: TransportClosed) -> None:
        # It went away, which is what was asked for.
        self.acked = True
        self._slot.unpark()

    async def wait(self) -> bool:
        while self.acked is None:
            await self._slot.park()
        return self.acked


async def request_end(
    actor: Actor, channel: Channel, timeout: float, *, time_left: float | None = None
) -> bool:
    """Ask a peer's runtime to end; whether it acknowledged within ``timeout`` seconds.

    ``time_left`` tells the peer when force will be used (seconds). A channel that is gone counts as
    acknowledged.
    """
    request = _EndRequest()
    cid = channel.new_cid()
    try:
        channel.post(m.Cancel(cid, actor.uid, "", time_left, True))
    except TransportClosed:
        return True
    channel.dialogs[cid] = request
    try:
        with trio.move_on_after(timeout):
            return await request.wait()
        return False
    finally:
        channel.dialogs.pop(cid, None)
