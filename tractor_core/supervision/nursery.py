"""ActorNursery: a block that owns actors, and ends no earlier than they have."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from types import FunctionType
from typing import Any, TypeVar

import trio

from tractor_core.errors import PluginError
from tractor_core.log import get_logger
from tractor_core.msg.namespace import functype_of, public_module, target_of
from tractor_core.runtime.actor import Actor
from tractor_core.runtime.call import Call, start_message
from tractor_core.runtime.payload import result_decoder
from tractor_core.runtime.portal import Portal
from tractor_core.seams import AddressLike, parse_address
from tractor_core.seams.spawn_checks import directory_path, named_options

from .child import Child, MainTask
from .ladder import teardown
from .merging import merged, raise_merged
from .policy import TeardownPolicy
from .supervisor import ChildOptions, Supervisor, new_uuid

log = get_logger("supervision")

T = TypeVar("T")

#: How long a subtree may outlive the child at its top (seconds): its lifelines' grace, and some.
SUBTREE_TIMEOUT = 3.0

#: How long after a subtree was killed its last listeners are closed (seconds).
SETTLING_TIME = 0.02

_NO_MORE = "this nursery was cancelled or left: it starts no more actors"


class ActorNursery:
    """Starts actors and owns them. Made by ``open_nursery()``.

    Supervision is one-cancels-all: an error in the block, from a run-once actor or by the death of a child
    cancels all the others and is raised when they are gone.
    """

    def __init__(self, actor: Actor, nursery: trio.Nursery, policy: TeardownPolicy) -> None:
        self._actor = actor
        self._nursery = nursery
        self._policy = policy
        self._children: dict[str, Child] = {}
        self._cancel_called = False
        self._closed = False

    # -- starting ---------------------------------------------------------------------------------

    async def start_actor(
        self,
        name: str,
        *,
        enable_modules: Iterable[str | Callable[..., Any]] | None = None,
        bind_addrs: Sequence[AddressLike] | None = None,
        enable_transports: Sequence[str] | None = None,
        loglevel: str | None = None,
        debug_mode: bool | None = None,
        infect_asyncio: bool = False,
        inherit_parent_main: bool = True,
        start_method: str | None = None,
        spawn_options: Mapping[str, Any] | None = None,
        proc_kwargs: Mapping[str, Any] | None = None,
        rpc_module_paths: Iterable[str | Callable[..., Any]] | None = None,
        tpt_bind_addrs: Sequence[AddressLike] | None = None,
    ) -> Portal:
        """Start a daemon actor and return its portal once it is *ready*: connected, its modules imported, its
        listeners bound, and registered under ``name``.

        ``enable_modules`` lists what it exposes: module names, and single async functions. ``proc_kwargs``
        may have ``env`` and ``cwd``; ``spawn_options`` are the backend's own, and ``stderr="capture"``, with
        which ``ActorDied`` also knows what C code said last. Raises the child's error when a
        module cannot be imported, ``ActorDied`` when its process ends while booting, ``PluginError`` for an
        unknown ``start_method``.
        """
        options = _options(
            enable_modules=_renamed("rpc_module_paths", rpc_module_paths, "enable_modules", enable_modules),
            bind_addrs=_renamed("tpt_bind_addrs", tpt_bind_addrs, "bind_addrs", bind_addrs),
            enable_transports=enable_transports,
            loglevel=loglevel,
            debug_mode=debug_mode,
            infect_asyncio=infect_asyncio,
            inherit_parent_main=inherit_parent_main,
            start_method=start_method,
            spawn_options=spawn_options,
            proc_kwargs=proc_kwargs,
        )
        return await self._start(name, options, None)

    async def run_in_actor(
        self,
        fn: Callable[..., Coroutine[Any, Any, T]],
        /,
        *,
        name: str | None = None,
        enable_modules: Iterable[str | Callable[..., Any]] | None = None,
        bind_addrs: Sequence[AddressLike] | None = None,
        enable_transports: Sequence[str] | None = None,
        loglevel: str | None = None,
        debug_mode: bool | None = None,
        infect_asyncio: bool = False,
        inherit_parent_main: bool = True,
        start_method: str | None = None,
        spawn_options: Mapping[str, Any] | None = None,
        proc_kwargs: Mapping[str, Any] | None = None,
        **fn_kwargs: Any,
    ) -> Portal[T]:
        """Start an actor that runs one function and is reaped after it.

        ``portal.wait_for_result()`` has the result.
        ``name`` defaults to the function's; its module is exposed automatically. The other options are those
        of :meth:`start_actor`; all further keyword arguments go to the function.
        """
        if functype_of(fn) != "asyncfunc":
            raise TypeError(f"{target_of(fn)} is not a plain async function, which run_in_actor() needs")
        options = _options(
            enable_modules=[*(enable_modules or ()), fn, public_module(fn.__module__)],
            bind_addrs=bind_addrs,
            enable_transports=enable_transports,
            loglevel=loglevel,
            debug_mode=debug_mode,
            infect_asyncio=infect_asyncio,
            inherit_parent_main=inherit_parent_main,
            start_method=start_method,
            spawn_options=spawn_options,
            proc_kwargs=proc_kwargs,
        )
        return await self._start(name or fn.__name__, options, (fn, fn_kwargs))

    async def _start(self, name: object, options: ChildOptions, main: Any) -> Portal:
        if not isinstance(name, str) or not name:
            raise TypeError(f"an actor's name is a non-empty string, not {name!r}")
        if self._closed or self._cancel_called:
            raise RuntimeError(_NO_MORE)
        child = Child(self._actor, name, new_uuid(), stop_patience=self._policy.stopped)
        self._children[child.uuid] = child
        try:
            portal: Portal = await self._nursery.start(
                self._supervise, child, options, main, name=f"actor {name}"
            )
        except BaseException:
            if self._children.pop(child.uuid, None) is None:
                raise
            # Nobody supervised it: trio's nursery ends with its last task, a moment before its block does.
            child.release()
            raise RuntimeError(_NO_MORE) from None
        return portal

    # -- supervising ------------------------------------------------------------------------------

    async def _supervise(
        self,
        child: Child,
        options: ChildOptions,
        main: tuple[Any, dict[str, Any]] | None,
        *,
        task_status: trio.TaskStatus[Portal],
    ) -> None:
        """Own one child from its start to its end; raises what its owner must know."""
        error: BaseException | None = None
        started = False
        try:
            with child.scope:
                await self._actor.room(Supervisor).launch(child, options)
                assert child.portal is not None
                if main is not None:
                    self._start_main(child, *main)
                started = True
                task_status.started(child.portal)
                await self._watch(child)
        except BaseExceptionGroup as group:
            error = merged(group)
        except BaseException as raised:
            error = raised
        await self._end(child)
        if error is None or isinstance(error, trio.Cancelled):
            error = child.late_error() or error
        if error is not None:
            raise error
        if not started:
            raise RuntimeError(f"the nursery was cancelled while actor {child.name!r} was being started")

    def _start_main(self, child: Child, fn: Any, kwargs: dict[str, Any]) -> None:
        assert child.channel is not None and child.portal is not None
        channel = child.channel
        call = Call(channel, "asyncfunc")
        signature = self._actor.exposed.signatures.get(fn)
        child.main = MainTask(self._actor, call, result_decoder(channel, signature))
        channel.post(start_message(channel, call.dialog.cid, target_of(fn), "asyncfunc", (), kwargs))
        channel.dialogs[call.dialog.cid] = call
        child.portal.main_result = child.main.wait_for_result

    async def _watch(self, child: Child) -> None:
        """Wait for a run-once child's result, or the end of a daemon; raises what is wrong with it."""
        if child.main is not None:
            await child.main.run()
            if child.main.error is not None and not child.main.delivered:
                raise child.main.error
            return
        assert child.process is not None
        status = await child.process.wait()
        if not status.ok and not child.end_asked and not child.left_alone(status):
            raise await child.death(status)

    async def _end(self, child: Child) -> None:
        """End the child and all below it, whatever state it is in; shielded and bounded."""
        process = child.process
        asked = process is not None and process.poll() is None
        # Whatever breaks from here on is of this actor's making, unless the child was dead before.
        if asked:
            child.end_asked = True
        try:
            if process is not None:
                status = await teardown(
                    process,
                    request=child.request_end,
                    policy=self._policy,
                    time_left=self._actor.time_left(),
                    hard_kill=child.hard_kill,
                )
                log.runtime("actor %s ended: %s", child.name, status)
                if asked and status.code and not child.left_alone(status):
                    log.warning("actor %s failed while it was ending: %s", child.name, status)
                await self._wait_subtree(child)
                if not status.ok:
                    await self._tidy()
        finally:
            with trio.CancelScope(shield=True):
                await child.close_channel()
            child.release()
            self._children.pop(child.uuid, None)

    async def _wait_subtree(self, child: Child) -> None:
        if child.guard is None:
            return
        with trio.CancelScope(shield=True):
            if not await child.guard.wait_gone(SUBTREE_TIMEOUT):
                log.warning("something that actor %s started still runs", child.name)

    async def _tidy(self) -> None:
        with trio.CancelScope(shield=True):
            # A process lets go of its descriptors one after the other, the guard not necessarily last.
            await trio.sleep(SETTLING_TIME)
            await self._actor.room(Supervisor).tidy()

    # -- cancelling -------------------------------------------------------------------------------

    async def cancel(self, hard_kill: bool = False) -> None:
        """End all children, gracefully or (``hard_kill``) by SIGKILL; returns when they are gone.

        The block itself goes on; no more actors can be started.
        """
        self._cancel_called = True
        children = list(self._children.values())
        for child in children:
            child.ask_end(hard_kill=hard_kill)
        for child in children:
            await child.gone.wait()

    @property
    def cancel_called(self) -> bool:
        """Whether :meth:`cancel` was called."""
        return self._cancel_called

    @property
    def cancelled_caught(self) -> bool:
        """Whether :meth:`cancel` was called and all children are gone."""
        return self._cancel_called and not self._children

    @property
    def cancelled(self) -> bool:
        """Deprecated name of :attr:`cancel_called`."""
        warnings.warn("ActorNursery.cancelled is now cancel_called", DeprecationWarning, stacklevel=2)
        return self._cancel_called


@asynccontextmanager
async def nursery_in(actor: Actor, policy: TeardownPolicy | None = None) -> AsyncIterator[ActorNursery]:
    """An actor nursery in a running actor."""
    nursery: ActorNursery | None = None
    try:
        async with trio.open_nursery() as tasks:
            nursery = ActorNursery(actor, tasks, policy or TeardownPolicy())
            yield nursery
    except BaseExceptionGroup as group:
        raise_merged(group)
    finally:
        # Not before: while it waits for actors at its end, others may be started by who holds it, as in trio.
        if nursery is not None:
            nursery._closed = True


def _options(
    *,
    enable_modules: Iterable[Any] | None,
    bind_addrs: Sequence[AddressLike] | None,
    enable_transports: Sequence[str] | None,
    spawn_options: Mapping[str, Any] | None,
    proc_kwargs: Mapping[str, Any] | None,
    **rest: Any,
) -> ChildOptions:
    for name in ("debug_mode", "infect_asyncio"):
        if rest[name]:
            raise PluginError(f"{name}=True is not part of this version of tractor-core")
    process = named_options("proc_kwargs", proc_kwargs)
    env, cwd = process.pop("env", None), process.pop("cwd", None)
    process.update(named_options("spawn_options", spawn_options))
    stderr = process.pop("stderr", None)
    if stderr not in (None, "capture"):
        raise ValueError(
            f"stderr is 'capture' or None, which leaves it where this actor's is, not {stderr!r}"
        )
    addresses = [parse_address(address) for address in bind_addrs or ()]
    transports = enable_transports
    if transports is None and addresses:
        transports = list(dict.fromkeys(address.scheme for address in addresses))
    modules, functions = split_modules(enable_modules or ())
    return ChildOptions(
        enable_modules=modules,
        enable_functions=functions,
        bind_addrs=[address.url for address in addresses],
        transports=transports,
        spawn_options=process,
        env=env,
        cwd=directory_path(cwd),
        capture_stderr=stderr is not None,
        **rest,
    )


def split_modules(entries: Iterable[Any]) -> tuple[list[str], list[str]]:
    """Tell the modules of an ``enable_modules`` list from the single functions.

    ``TypeError`` for what is neither.
    """
    if isinstance(entries, str):
        raise TypeError(f"enable_modules is a list of module names, not the string {entries!r}")
    modules: list[str] = []
    functions: list[str] = []
    for entry in entries:
        if isinstance(entry, str):
            modules.append(public_module(entry))
        elif isinstance(entry, FunctionType):
            functions.append(target_of(entry))
        else:
            raise TypeError(f"enable_modules takes module names and async functions, not {entry!r}")
    return list(dict.fromkeys(modules)), list(dict.fromkeys(functions))


def _renamed(old: str, old_value: Any, new: str, value: Any) -> Any:
    if old_value is None:
        return value
    warnings.warn(f"{old}= is now {new}=", DeprecationWarning, stacklevel=3)
    return old_value if value is None else value
