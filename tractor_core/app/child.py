"""The boot of a spawned actor, from bootstrap blob to ready."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import trio

from tractor_core.discovery.link import RegistryLink
from tractor_core.errors import TractorError, TransportClosed
from tractor_core.ipc.channel import Channel
from tractor_core.ipc.limits import Limits
from tractor_core.log import get_console_log, get_logger
from tractor_core.msg import types as m
from tractor_core.msg.boxing import box
from tractor_core.msg.exposure import Exposed
from tractor_core.msg.namespace import NamespacePath
from tractor_core.plugin.manager import PluginManager
from tractor_core.protocol.handshake import Identity
from tractor_core.protocol.liveness import Heartbeat
from tractor_core.runtime.actor import Actor
from tractor_core.runtime.dialling import dial, nearest_first
from tractor_core.runtime.status import serve_status
from tractor_core.supervision.adopted import mark_descendant
from tractor_core.supervision.last_words import LAST_WORDS, record_crash, record_stderr
from tractor_core.supervision.lifeline import (
    ORPHANED_EXIT_CODE,
    inherited_guards,
    inherited_lifelines,
    is_orphaned,
    watch_parent,
)
from tractor_core.supervision.stderr_capture import STDERR, redirect_stderr
from tractor_core.supervision.supervisor import Supervisor

from .binding import Listeners, default_addresses
from .death_signal import arm_orphan_alarm, request_death_signal, settle_orphan_alarm, wake_at_end
from .main_module import prepare_main
from .options import actor_identity, addresses_of
from .running import run_actor
from .signals import ignore_terminal_signals

log = get_logger("runtime")

#: The exit code of an actor that could not boot.
BOOT_FAILED = 1

# Made with the module, so that processes forked from one that has imported it find them made.
_BOOTSTRAP = msgspec.msgpack.Decoder(m.Bootstrap)
_ACTOR_SPEC = msgspec.msgpack.Decoder(m.ActorSpec)


def main(bootstrap: bytes, descriptors: Mapping[str, int]) -> int:
    """What a new process calls in its main thread; returns its exit code."""
    ignore_terminal_signals()
    mark_descendant()
    restore_stderr = _leave_last_words(descriptors)
    boot = _BOOTSTRAP.decode(bootstrap)
    lifelines = inherited_lifelines(descriptors)
    if not lifelines:
        return BOOT_FAILED
    # A parent that is gone already shows at the lifeline's end; these are for when nobody can look.
    request_death_signal(boot.parent_pid)
    wake_at_end(*lifelines)
    arm_orphan_alarm(*lifelines)
    return trio.run(functools.partial(run_child, boot, descriptors, on_orphaned=restore_stderr))


async def run_child(
    boot: m.Bootstrap,
    descriptors: Mapping[str, int],
    *,
    own_process: bool = True,
    on_actor: Callable[[Actor], None] | None = None,
    on_orphaned: Callable[[], None] | None = None,
) -> int:
    """Run one spawned actor until it is cancelled; returns its exit code.

    ``own_process`` allows what concerns the whole process; ``on_actor`` is given the actor before it runs;
    ``on_orphaned`` is called, in a thread, when the parent or an ancestor has died.
    """
    pid = os.getpid()
    actor = Actor(
        Identity(m.Aid(boot.name, boot.uuid, pid), boot.key, boot.key_explicit),
        plugins=PluginManager.from_table(boot.plugins),
        limits=Limits.from_dict(boot.limits),
        exposed=Exposed(),
        is_root=False,
        runtime_vars={},
    )
    actor.tls = boot.tls
    actor.heartbeats.default = Heartbeat.of(boot.heartbeat_interval, boot.heartbeat_timeout)
    lifelines = inherited_lifelines(descriptors)
    supervisor = Supervisor(
        actor, inherited_lifelines=lifelines, inherited_guards=inherited_guards(descriptors)
    )
    actor.furnish(supervisor)
    if on_actor is not None:
        on_actor(actor)
    if lifelines:
        _watch_ancestors(actor, supervisor, lifelines, boot.parent, on_orphaned)
    exit_code = 0
    async with run_actor(actor) as listeners:
        try:
            channel = await _dial_parent(actor, boot)
            spec = await _receive_spec(channel)
        except (OSError, TractorError) as error:
            # Without a parent nobody is there whom this actor could serve, or tell why it does not.
            if not is_orphaned(lifelines):
                log.error("%s cannot join its parent %s: %s", boot.name, boot.parent, error)
            return BOOT_FAILED
        if_lost = BOOT_FAILED
        try:
            await _configure(actor, supervisor, listeners, channel, spec, own_process=own_process)
            if_lost = ORPHANED_EXIT_CODE
            _post(channel, m.Ready([address.advertised.url for address in actor.accept_addrs]))
            await trio.sleep_forever()
        except (Exception, SystemExit) as error:
            log.runtime("boot of %s failed", actor.aid, exc_info=error)
            _post(channel, m.Error(m.RUNTIME_CID, box(error, actor.uid)))
            exit_code = BOOT_FAILED
        finally:
            # Asked to end, ready or not, it has done nothing wrong. Here it lost whom it belongs to.
            if channel.closed_by is not None:
                exit_code = if_lost
    return exit_code


def _leave_last_words(descriptors: Mapping[str, int]) -> Callable[[], None] | None:
    """Let the parent know what this process said last; returns what to do when the parent is gone."""
    words, stderr = descriptors.get(LAST_WORDS), descriptors.get(STDERR)
    if words is not None:
        record_crash(words)
    if stderr is not None:
        return redirect_stderr(stderr)
    if words is not None:
        record_stderr(words)
    return None


def _watch_ancestors(
    actor: Actor,
    supervisor: Supervisor,
    lifelines: tuple[int, ...],
    parent: m.Aid,
    on_orphaned: Callable[[], None] | None,
) -> None:
    token = trio.lowlevel.current_trio_token()

    def act() -> None:
        settle_orphan_alarm()
        if on_orphaned is not None:
            on_orphaned()
        token.run_sync_soon(actor.cancel_soon, parent.uid)

    watch_parent(*lifelines, registry=supervisor.lifelines, on_orphaned=act)


async def _dial_parent(actor: Actor, boot: m.Bootstrap) -> Channel:
    """The channel to the parent, however long that computes: its death shows elsewhere."""
    patience = actor.limits.handshake_timeout
    while True:
        begun = trio.current_time()
        last: Exception = ConnectionRefusedError("none of the parent's transports is available here")
        for address in nearest_first(actor, boot.parent_addrs):
            try:
                actor.parent = await dial(
                    actor,
                    address,
                    expect_uuid=boot.parent.uuid,
                    method="spawn",
                    secret=boot.secret,
                    patience=patience,
                )
            except (OSError, TractorError) as error:
                last = error
            else:
                return actor.parent
        if trio.current_time() - begun < patience:
            raise last  # refused: nobody who might still answer
        patience *= 2


class _SpecSink:
    """Takes the one message that a parent sends unasked."""

    def __init__(self) -> None:
        self._spec: m.ActorSpec | TransportClosed | None = None
        self._arrived = trio.Event()

    def deliver(self, message: Any) -> None:
        if isinstance(message, m.SpawnSpec) and self._spec is None:
            self._spec = _ACTOR_SPEC.decode(message.spec)
            self._arrived.set()

    def cut(self, error: TransportClosed) -> None:
        self._spec = self._spec or error
        self._arrived.set()

    async def wait(self) -> m.ActorSpec:
        await self._arrived.wait()
        if isinstance(self._spec, m.ActorSpec):
            return self._spec
        assert self._spec is not None
        raise self._spec


async def _receive_spec(channel: Channel) -> m.ActorSpec:
    sink = _SpecSink()
    channel.dialogs[m.RUNTIME_CID] = sink
    try:
        return await sink.wait()
    finally:
        channel.dialogs.pop(m.RUNTIME_CID, None)


async def _configure(
    actor: Actor,
    supervisor: Supervisor,
    listeners: Listeners,
    parent: Channel,
    spec: m.ActorSpec,
    *,
    own_process: bool,
) -> None:
    """Become what the parent asked for; raises what keeps this actor from it."""
    actor.runtime_vars.update(spec.runtime_vars)
    actor.transports = list(spec.transports)
    actor.start_method = spec.start_method
    actor.loglevel = spec.loglevel
    supervisor.main = spec.main
    serve_status(actor)
    if own_process:
        if spec.loglevel:
            get_console_log(spec.loglevel, identity=actor_identity)
        if spec.main is not None:
            prepare_main(spec.main)
    actor.use_ext_types([names.load() for names in spec.ext_types])
    for module in spec.enable_modules:
        actor.exposed.add_module(module)
    for target in spec.enable_functions:
        actor.exposed.add_function(NamespacePath(target).load_ref())
    actor.reg_addrs = addresses_of(actor.plugins, spec.registry_addrs)
    bind = addresses_of(actor.plugins, spec.bind_addrs)
    await listeners.open([*bind, *default_addresses(actor, bind)])
    await _register(actor, parent, spec)


async def _register(actor: Actor, parent: Channel, spec: m.ActorSpec) -> None:
    link = RegistryLink(actor)
    if spec.registrar is not None and spec.registrar == parent.aid:
        link.use(parent)
    actor.furnish(link)
    await link.register()
    actor.network.start_soon(link.keep, name="registry link")


def _post(channel: Channel, message: m.Message) -> None:
    try:
        channel.post(message)
    except TransportClosed:
        pass  # the parent is gone, and with it whoever would want to know
