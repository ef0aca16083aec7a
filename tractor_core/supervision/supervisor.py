"""Supervisor: what all nurseries of one actor share, and the starting of one child."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

import msgspec
import trio

from tractor_core.errors import ActorDied, PluginError, TransportClosed
from tractor_core.ipc.channel import Channel
from tractor_core.log import get_logger
from tractor_core.msg import types as m
from tractor_core.msg.boxing import unbox
from tractor_core.msg.extension import names_of
from tractor_core.runtime.actor import Actor
from tractor_core.runtime.dialling import told
from tractor_core.runtime.spawn_secrets import Expected
from tractor_core.seams import SpawnBackend, SpawnRequest

from .child import BootSink, Child
from .last_words import LAST_WORDS, LastWords
from .lifeline import Lifeline, SubtreeGuard, guard_descriptors, lifeline_descriptors
from .spawning import spawn
from .stderr_capture import STDERR, StderrCapture
from .stopped import StoppedChildren

#: What a new process calls; see ``SpawnRequest.entry``.
ENTRY = "tractor_core.app.child:main"
#: What goes through the same beforehand; see ``SpawnRequest.rehearsal``.
REHEARSAL = "tractor_core.app.rehearsal:rehearse"

#: How long removing the leftovers of killed actors may take (seconds).
TIDY_TIMEOUT = 0.5

log = get_logger("supervision")


class ChildOptions(msgspec.Struct, frozen=True):
    """What ``start_actor`` was told about one child; None means "as I am"."""

    enable_modules: Sequence[str] = ()
    enable_functions: Sequence[str] = ()
    bind_addrs: Sequence[str] = ()
    transports: Sequence[str] | None = None
    loglevel: str | None = None
    debug_mode: bool | None = None
    infect_asyncio: bool = False
    inherit_parent_main: bool = True
    start_method: str | None = None
    spawn_options: Mapping[str, Any] = {}
    env: Mapping[str, str] | None = None
    cwd: str | None = None
    capture_stderr: bool = False


class Supervisor:
    """An actor's means of starting children: lifelines, guards and what they are told."""

    def __init__(
        self,
        actor: Actor,
        *,
        inherited_lifelines: Sequence[int] = (),
        inherited_guards: Sequence[int] = (),
        main: m.MainModule | None = None,
    ) -> None:
        self.actor = actor
        self.lifelines = Lifeline()
        self.stopped = StoppedChildren(actor)
        self.main = main
        self._inherited_lifelines = tuple(inherited_lifelines)
        self._inherited_guards = tuple(inherited_guards)

    async def launch(self, child: Child, options: ChildOptions) -> None:
        """Start a process for ``child`` and wait until it is ready.

        Whatever goes wrong, ``child`` holds what has to be ended and released.
        """
        actor = self.actor
        backend = actor.plugins.spawner(options.start_method or actor.start_method)
        self._check_addresses(options)
        expected = actor.secrets.expect(child.uuid)
        await self._spawn(child, options, backend, expected.secret)
        self.stopped.watch(child)
        spec = m.SpawnSpec(msgspec.Raw(msgspec.msgpack.encode(self._spec(options))))
        exited: list[ActorDied] = []
        boot = BootSink()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_watch_exit, child, exited, nursery.cancel_scope)
            # Where this actor computes for longer than it waits it dials again, and an attempt that it gave
            # up may have succeeded here. What it does not come back from shows in its exit.
            while not isinstance(boot.answer, m.Ready | m.Error):
                boot = await self._boot(child, expected, spec)
            nursery.cancel_scope.cancel()
        if isinstance(boot.answer, m.Error):
            raise unbox(boot.answer.error)
        if not isinstance(boot.answer, m.Ready):
            raise exited[0]
        actor.secrets.forget(child.uuid)
        actor.explain_closing(child.uuid, child.explain)
        assert child.channel is not None
        child.channel.dialogs.pop(m.RUNTIME_CID, None)

    async def _boot(self, child: Child, expected: Expected, spec: m.SpawnSpec) -> BootSink:
        """Tell the child, over the channel that it comes on, what it is to be; what it answers."""
        channel = await expected.channel()
        boot = BootSink()
        child.connected(channel)
        channel.explain = functools.partial(_explain, child, boot)
        channel.dialogs[m.RUNTIME_CID] = boot
        if channel.closed_by is not None:
            boot.cut(channel.closed_by)
        _post(channel, spec)
        await boot.wait()
        return boot

    def _check_addresses(self, options: ChildOptions) -> None:
        """What is wrong with a transport or an address is said here, before there is a process to say it."""
        plugins = self.actor.plugins
        for scheme in options.transports or ():
            plugins.transport(scheme)
        for url in options.bind_addrs:
            plugins.transport(url.partition(":")[0]).parse(url)

    async def tidy(self) -> None:
        """Remove what listeners of killed actors left behind. Shielded and bounded."""
        actor = self.actor
        with trio.CancelScope(shield=True), trio.move_on_after(TIDY_TIMEOUT):
            for scheme in {address.scheme for address in actor.accept_addrs}:
                tidy = getattr(actor.plugins.transport(scheme), "tidy", None)
                if tidy is None:
                    continue
                try:
                    await tidy()
                except OSError as error:
                    # No descriptor for a look, perhaps. Nothing is lost: the root looks again at its end.
                    log.warning("tidying up after %s:// listeners was put off: %s", scheme, error)
                except Exception:
                    log.exception("tidying up after %s:// listeners failed", scheme)

    async def _spawn(self, child: Child, options: ChildOptions, backend: SpawnBackend, secret: bytes) -> None:
        descriptors: dict[str, int] = {}
        read_end: int | None = None
        try:
            if getattr(backend, "own_process", True):
                read_end, child.lifeline = self.lifelines.open()
                child.guard = SubtreeGuard()
                descriptors = {
                    **lifeline_descriptors(self._inherited_lifelines, read_end),
                    **guard_descriptors(self._inherited_guards, child.guard),
                    **_listen(child, capture=options.capture_stderr),
                }
            child.process = await spawn(backend, self._request(child, options, secret, descriptors))
            if child.lifeline is not None:
                child.lifeline.attach(child.process.pid)
        finally:
            if read_end is not None:
                os.close(read_end)
            if child.guard is not None:
                child.guard.spawned()
            if child.capture is not None:
                child.capture.spawned()

    def _request(
        self, child: Child, options: ChildOptions, secret: bytes, descriptors: dict[str, int]
    ) -> SpawnRequest:
        actor = self.actor
        bootstrap = m.Bootstrap(
            name=child.name,
            uuid=child.uuid,
            parent=actor.aid,
            parent_addrs=[address.url for address in self._parent_addrs(options)],
            secret=secret,
            key=actor.identity.key,
            key_explicit=actor.identity.key_explicit,
            parent_pid=os.getpid(),
            tls=actor.tls,
            plugins=[
                m.PluginEntry(row.kind, row.name, row.target, row.distribution, row.version)
                for row in actor.plugins.table()
            ],
            limits=actor.limits.to_dict(),
            heartbeat_interval=actor.heartbeats.default.interval,
            heartbeat_timeout=actor.heartbeats.default.timeout,
        )
        return SpawnRequest(
            name=child.name,
            uuid=child.uuid,
            entry=ENTRY,
            bootstrap=msgspec.msgpack.encode(bootstrap),
            descriptors=descriptors,
            env=options.env,
            cwd=options.cwd,
            options=options.spawn_options,
            modules=self._modules(options),
            rehearsal=REHEARSAL,
            parent_addrs=bootstrap.parent_addrs,
            readdress=functools.partial(_readdressed, bootstrap),
        )

    def _modules(self, options: ChildOptions) -> list[str]:
        """Where the transports that the child listens with come from."""
        schemes = options.transports if options.transports is not None else self.actor.transports
        rows = self.actor.plugins.table()
        return [
            row.target.partition(":")[0] for row in rows if row.kind == "transport" and row.name in schemes
        ]

    def _parent_addrs(self, options: ChildOptions) -> list[Any]:
        """Where the child can dial this actor, nearest first; over its own transports where it can."""
        actor = self.actor
        chosen = options.transports or ()
        common = [address for address in actor.accept_addrs if address.scheme in chosen]
        ranked = []
        for address in told(common or actor.accept_addrs):
            distance = actor.plugins.transport(address.scheme).distance(address)
            if distance is not None:
                ranked.append((distance, address))
        if not ranked:
            raise PluginError(f"{actor.aid} listens nowhere that a child could dial")
        return [address for _, address in sorted(ranked, key=lambda pair: pair[0])]

    def _spec(self, options: ChildOptions) -> m.ActorSpec:
        actor = self.actor
        runtime_vars = {**actor.runtime_vars, "_is_root": False}
        if options.debug_mode is not None:
            runtime_vars["_debug_mode"] = options.debug_mode
        return m.ActorSpec(
            enable_modules=list(options.enable_modules),
            enable_functions=list(options.enable_functions),
            registry_addrs=[address.url for address in actor.reg_addrs],
            bind_addrs=list(options.bind_addrs),
            transports=list(options.transports if options.transports is not None else actor.transports),
            registrar=actor.aid if actor.is_registrar else None,
            start_method=options.start_method or actor.start_method,
            loglevel=options.loglevel or actor.loglevel,
            runtime_vars=runtime_vars,
            main=self.main if options.inherit_parent_main else None,
            infect_asyncio=options.infect_asyncio,
            ext_types=names_of(actor.ext_types),
        )


def _listen(child: Child, *, capture: bool) -> dict[str, int]:
    """Make what keeps its last words; returns what it must inherit for that, by name."""
    child.words = LastWords()
    descriptors = {LAST_WORDS: child.words.descriptor}
    if capture:
        child.capture = StderrCapture(child.words)
        descriptors[STDERR] = child.capture.write_end
    return descriptors


async def _watch_exit(child: Child, exited: list[ActorDied], scope: trio.CancelScope) -> None:
    """A process that ends instead of booting must not be waited for."""
    assert child.process is not None
    status = await child.process.wait()
    # Its last words may still be on their way: a boot error says more than an exit code.
    if child.channel is not None:
        with trio.move_on_after(0.5):
            await child.channel.wait_closed()
    exited.append(await child.death(status))
    scope.cancel()


async def _explain(child: Child, boot: BootSink, channel: Channel, error: TransportClosed) -> TransportClosed:
    """Why a channel ended over which the child was being started.

    Not by the child's doing, until it is ready: it may dial again. Except where this actor has given it up.
    """
    if channel.given_up is None and not isinstance(boot.answer, m.Ready):
        return error
    return await child.explain(channel, error)


def _post(channel: Channel, message: m.Message) -> None:
    """Send to a child that may have gone already: its exit says so better than the send."""
    try:
        channel.post(message)
    except TransportClosed:
        pass


def _readdressed(bootstrap: m.Bootstrap, parent_addrs: Sequence[str]) -> bytes:
    """The bootstrap blob for an actor that dials this one elsewhere; see ``SpawnRequest.reached_at``."""
    return msgspec.msgpack.encode(msgspec.structs.replace(bootstrap, parent_addrs=list(parent_addrs)))


def new_uuid() -> str:
    """A fresh actor uuid."""
    return str(uuid4())
