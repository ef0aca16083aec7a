"""Actor: all the state of one runtime."""

from __future__ import annotations

import contextvars
import math
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import chain
from typing import Any, TypeVar

import msgspec
import trio

from tractor_core.errors import FrameTooLarge, NoRuntime
from tractor_core.ipc.channel import NOT_A_MESSAGE, Channel, Explain
from tractor_core.ipc.endpoint import Endpoint
from tractor_core.ipc.handed import HandedConnections
from tractor_core.ipc.limits import Limits
from tractor_core.ipc.quiet_log import QuietLog
from tractor_core.log import get_logger
from tractor_core.msg.codec import Codecs, tree_codecs
from tractor_core.msg.exposure import Exposed
from tractor_core.msg.extension import ExtType
from tractor_core.msg.types import Aid, Cancel
from tractor_core.plugin.manager import PluginManager
from tractor_core.protocol.auth import ClientTokens
from tractor_core.protocol.handshake import Identity, Peer
from tractor_core.protocol.liveness import Heartbeat
from tractor_core.seams import Address, Buffer, Connection, TLSConfig

from .callees import Callees
from .heartbeats import Heartbeats
from .spawn_secrets import Secrets
from .system import SystemTable

log = get_logger("runtime")

T = TypeVar("T")

#: What is kept of the time that an actor is given for its end, to say goodbye in (seconds).
END_MARGIN = 0.3


class Actor:
    """One actor: identity, peers, exposed functions, and the nurseries its tasks run in.

    Made by the booting code; users get it from ``open_root_actor()`` or ``current_actor()``.
    """

    def __init__(
        self,
        identity: Identity,
        *,
        plugins: PluginManager,
        limits: Limits,
        exposed: Exposed,
        is_root: bool,
        runtime_vars: dict[str, Any],
    ) -> None:
        self.identity = identity
        self.plugins = plugins
        self.limits = limits
        self.exposed = exposed
        #: The functions that it calls in its peers.
        self.callees = Callees(exposed.signatures)
        self.is_root = is_root
        self.runtime_vars = runtime_vars
        self.aid = identity.aid
        #: The runtime's own endpoints, namespace "self".
        self.system = SystemTable()
        self.secrets = Secrets()
        #: Watches over all channels.
        self.heartbeats = Heartbeats(plugins)
        #: What its peers do wrong and make fail, said without filling the log; by a peer's name.
        self.complaints = QuietLog(log.logger, "%d more like it from %s within %g s")
        #: Open channels by the peer's uuid, newest last.
        self.peers: dict[str, list[Channel]] = {}
        self.parent: Channel | None = None
        #: Where this actor listens, and where its registrars are.
        self.accept_addrs: list[Address] = []
        self.reg_addrs: list[Address] = []
        #: What children inherit unless told otherwise.
        self.transports: list[str] = []
        self.start_method = "subprocess"
        self.loglevel: str | None = None
        #: How the tree's own types travel, and how its channels therefore encode: see :meth:`use_ext_types`.
        self.ext_types: tuple[ExtType, ...] = ()
        self.codecs: Codecs = tree_codecs()
        #: Certificate and key for the transports that use TLS.
        self.tls: TLSConfig | None = None
        #: Who may connect as a client. Not inherited by children.
        self.tokens = ClientTokens()
        #: Whether they get the tracebacks of errors.
        self.client_tracebacks = False
        #: Closed last of all, however the runtime ends.
        self.lifetime_stack = ExitStack()
        self.cancel_called = False
        #: Who asked this actor to end.
        self.canceller: tuple[str, str] | None = None
        #: ``trio.current_time()`` at which whoever asked will use force; None: no limit.
        self.cancel_deadline: float | None = None
        #: Wraps what the actor is for: the user's block in a root, serving in a child.
        self.main_scope = trio.CancelScope()
        #: Blocks that must not outlast the end, and how long each may go on then: see :meth:`until_ended`.
        self._patient: dict[trio.CancelScope, float] = {}
        #: Takes the messages that name no open dialog; set when the runtime starts.
        self.dispatch: Callable[[Channel, Any], None] = _not_running
        #: What the rooms above keep per actor, by type: see :meth:`room`.
        self._rooms: dict[type, Any] = {}
        self._explain: dict[str, Explain] = {}
        #: Told, by a child's uuid, when this actor asked it to end (over which channel, and whether that was
        #: open): its owner bounds how long that may take.
        self.on_end_asked: dict[str, Callable[[Channel, bool], None]] = {}
        self._network: trio.Nursery | None = None
        #: Made with the first connection that the program itself accepted.
        self._handed: HandedConnections | None = None
        #: The ``trio.run`` that it lives in.
        self.trio_token: trio.lowlevel.TrioToken | None = None
        #: What channel readers, and so endpoints, start with: not the context variables of whoever dialled.
        self._variables = contextvars.copy_context()
        self._service: trio.Nursery | None = None

    # -- identity ---------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return self.aid.name

    @property
    def uid(self) -> tuple[str, str]:
        """The legacy pair ``(name, uuid)``."""
        return self.aid.uid

    @property
    def pid(self) -> int:
        return self.aid.pid

    @property
    def is_registrar(self) -> bool:
        return self.aid.is_registrar

    @property
    def is_arbiter(self) -> bool:
        """Deprecated name of :attr:`is_registrar`."""
        warnings.warn("Actor.is_arbiter is now is_registrar", DeprecationWarning, stacklevel=2)
        return self.is_registrar

    def is_infected_aio(self) -> bool:
        """Whether this actor runs trio as a guest on asyncio."""
        return bool(self.runtime_vars.get("_is_infected_aio"))

    def become(self, aid: Aid) -> None:
        """Settle the identity (whether it is the registrar) before anybody was told another one."""
        self.aid = aid
        self.identity = msgspec.structs.replace(self.identity, aid=aid)

    def __repr__(self) -> str:
        return f"<Actor {self.aid} pid={self.aid.pid or os.getpid()}>"

    def use_ext_types(self, ext_types: Sequence[ExtType]) -> None:
        """Let values of these types travel, from here on and in all children. Before any dialog.

        ``ValueError`` where two of them collide.
        """
        self.codecs = tree_codecs(ext_types)
        self.ext_types = tuple(ext_types)
        for channel in chain.from_iterable(self.peers.values()):
            channel.use_codecs(self.codecs)

    def furnish(self, thing: object) -> None:
        """Keep an object of a room above (its supervisor, its registrar) for :meth:`room`."""
        self._rooms[type(thing)] = thing

    def room(self, kind: type[T]) -> T:
        """The object of that type that booting left here; ``KeyError`` where there is none."""
        thing: T = self._rooms[kind]
        return thing

    # -- tasks ------------------------------------------------------------------------------------

    def enter_network(self, nursery: trio.Nursery) -> None:
        """Where channel readers and listeners run from now on, with this task's context variables."""
        self._network = nursery
        self.trio_token = trio.lowlevel.current_trio_token()
        self._variables = contextvars.copy_context()
        nursery.start_soon(self.heartbeats.run, name="heartbeats")
        nursery.start_soon(self.complaints.run, name="complaints")

    def enter_service(self, nursery: trio.Nursery) -> None:
        """Where endpoint tasks run from now on."""
        self._service = nursery

    @property
    def network(self) -> trio.Nursery:
        """The nursery of channel readers and listeners; closed after the endpoints."""
        if self._network is None:
            raise NoRuntime("the runtime is not running")
        return self._network

    @property
    def service(self) -> trio.Nursery:
        """The nursery that endpoint tasks run in."""
        if self._service is None:
            raise NoRuntime("the runtime is not running")
        return self._service

    def cancel_soon(
        self, canceller: tuple[str, str] | None = None, *, time_left: float | None = None
    ) -> None:
        """Begin to end this actor; returns at once.

        ``canceller`` is who asked (default: the actor itself); ``time_left`` the seconds until whoever asked
        will use force.
        """
        if time_left is not None:
            deadline = trio.current_time() + time_left
            self.cancel_deadline = min(deadline, self.cancel_deadline or deadline)
        if not self.cancel_called:
            self.cancel_called = True
            self.canceller = canceller or self.uid
            self.main_scope.cancel()
        self._hurry()

    @contextmanager
    def until_ended(self, grace: float) -> Iterator[trio.CancelScope]:
        """A block that may take its time, but no more than ``grace`` seconds once this actor is being ended.

        Less where force will be used sooner. For what is shielded and depends on a peer.
        """
        with trio.CancelScope() as scope:
            self._patient[scope] = grace
            self._hurry()
            try:
                yield scope
            finally:
                del self._patient[scope]

    def _hurry(self) -> None:
        """Set the deadlines of :meth:`until_ended`, once there is an end in sight."""
        if not self.cancel_called:
            return
        now, time_left = trio.current_time(), self.time_left()
        most = math.inf if time_left is None else max(0.0, time_left - END_MARGIN)
        for scope, grace in self._patient.items():
            scope.deadline = min(scope.deadline, now + min(grace, most))

    def time_left(self) -> float | None:
        """Seconds until whoever asked this actor to end will use force; None where nobody will."""
        if self.cancel_deadline is None:
            return None
        return max(0.0, self.cancel_deadline - trio.current_time())

    # -- peers ------------------------------------------------------------------------------------

    def attach(
        self,
        connection: Connection,
        peer: Peer,
        leftover: Sequence[Buffer] = (),
        *,
        dialled: bool,
        heartbeat: Heartbeat | None = None,
    ) -> Channel:
        """Make a channel of an authenticated connection and start reading it.

        ``heartbeat`` says how it is watched, where not as all the others are.
        """
        channel = Channel(connection, peer, self.limits, dialled=dialled)
        self._add(channel, heartbeat)
        run = partial(self._run_channel, channel, leftover)
        self._variables.run(partial(self.network.start_soon, run, name=f"channel to {peer.aid}"))
        return channel

    @property
    def serving(self) -> bool:
        """Whether :meth:`serve_connection` takes connections: from the boot until the actor begins to end."""
        return self._service is not None and not self.cancel_called

    async def serve_connection(self, connection: Connection) -> None:
        """Serve a peer whose connection the program itself has accepted, as a listener of this actor would.

        The peer has to prove itself, within the limits of :class:`~tractor_core.Limits`; one that cannot is
        refused with a line in the log. Returns when the connection is closed: by the peer, by a refusal, by
        the end of this actor. When cancelled, it closes the connection at once. Any task of the actor's
        ``trio.run`` may call this.

        Raises ``NoRuntime``, and closes the connection, where the actor does not run, or is ending.
        """
        if not self.serving or self.trio_token is not trio.lowlevel.current_trio_token():
            connection.abort()
            raise NoRuntime(f"{self.aid} takes no connections: it does not run here, or is ending")
        if self._handed is None:
            self._handed = HandedConnections(self.limits.max_connections)
            endpoint = Endpoint(self._handed, self.identity, self.limits, self.secrets, self.tokens)
            serve = partial(endpoint.serve, self.serve_channel)
            self._variables.run(partial(self.network.start_soon, serve, name="handed connections"))
        connection.max_frame = self.limits.max_handshake_frame
        await self._handed.hand(connection)

    async def serve_channel(self, connection: Connection, peer: Peer, leftover: Sequence[Buffer]) -> None:
        """Read an accepted connection until it ends."""
        channel = Channel(connection, peer, self.limits, dialled=False)
        if self.secrets.connected(peer, channel):
            self._add(channel)
            await self._run_channel(channel, leftover)

    def _add(self, channel: Channel, heartbeat: Heartbeat | None = None) -> None:
        channel.use_codecs(self.codecs)
        channel.complain = partial(self.complaints.warning, channel.aid.name)
        channel.withhold_tracebacks = channel.peer.role == "client" and not self.client_tracebacks
        self.peers.setdefault(channel.aid.uuid, []).append(channel)
        self.heartbeats.watch(channel, heartbeat)

    async def _run_channel(self, channel: Channel, leftover: Sequence[Buffer]) -> None:
        if self.plugins.channel_opened:
            self.plugins.notify("tractor_channel_opened", channel=channel)
        channel.explain = self._explain.get(channel.aid.uuid)
        try:
            await channel.run(self.dispatch, leftover)
        except Exception as error:
            # A bug here, that a peer has found: it costs that peer its channel and not all others theirs.
            message = "taking what %s sent failed; the channel is closed"
            self.complaints.error(channel.aid.name, error, message, channel.aid)
        finally:
            self._forget(channel)
            reason = channel.closed_by
            if reason is not None and isinstance(reason.src_exc, (FrameTooLarge, *NOT_A_MESSAGE)):
                channel.complain("%s at %s broke the protocol: %s", channel.aid, channel.raddr, reason)
            else:
                log.runtime("channel to %s ended: %s", channel.aid, reason)
            if self.plugins.channel_closed:
                self.plugins.notify("tractor_channel_closed", channel=channel, reason=reason)

    def _forget(self, channel: Channel) -> None:
        self.heartbeats.forget(channel)
        channels = self.peers.get(channel.aid.uuid, [])
        if channel in channels:
            channels.remove(channel)
        if not channels:
            self.peers.pop(channel.aid.uuid, None)
        self.system.channel_closed(channel)
        if channel is self.parent:
            # No child outlives its parent: the link is the proof that it is there.
            self.cancel_soon(channel.aid.uid)

    def channel_to(self, uuid: str) -> Channel | None:
        """The newest open channel to a peer, if there is one."""
        channels = self.peers.get(uuid)
        return channels[-1] if channels else None

    def explain_closing(self, uuid: str, explain: Explain | None) -> None:
        """Have ``explain`` say why channels to this peer end (a supervisor knows about processes)."""
        if explain is None:
            self._explain.pop(uuid, None)
        else:
            self._explain[uuid] = explain
            for channel in self.peers.get(uuid, ()):
                channel.explain = explain

    # -- the end ------------------------------------------------------------------------------------------

    def on_runtime_cancel(self, channel: Channel, message: Cancel) -> bool:
        """A peer asks this whole actor to end; True where it may."""
        if channel.peer.role != "tree":
            return False
        time_left = message.time_left
        if time_left is not None and not math.isfinite(time_left):
            time_left = None
        self.cancel_soon(message.canceller, time_left=time_left)
        return True

    async def close_channels(self, timeout: float) -> None:
        """Say goodbye on every channel at once, within ``timeout`` seconds."""
        channels = [channel for peers in self.peers.values() for channel in peers]
        async with trio.open_nursery() as nursery:
            for channel in channels:
                nursery.start_soon(channel.aclose, timeout)


def _not_running(channel: Channel, message: Any) -> None:
    raise NoRuntime("the runtime is not running")
