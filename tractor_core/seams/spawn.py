"""The spawn-backend seam: how a process that will become an actor is started."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from .spawn_checks import check_environment, directory_path
from .values import repr_without


class ExitStatus(msgspec.Struct, frozen=True):
    """How a process ended: an exit code, or the number of the signal that killed it.

    Neither, where nobody can tell any more: that it ended is then all that is known. ``note`` is what the
    backend knows besides, for people: what a code means that its own machinery chose, for instance.
    """

    code: int | None = None
    signal: int | None = None
    note: str = ""

    @classmethod
    def from_returncode(cls, returncode: int) -> ExitStatus:
        """From the convention of :mod:`subprocess`: negative means killed by that signal."""
        return cls(signal=-returncode) if returncode < 0 else cls(code=returncode)

    @property
    def ok(self) -> bool:
        return self.code == 0

    def __str__(self) -> str:
        return f"{self._plainly()}: {self.note}" if self.note else self._plainly()

    def _plainly(self) -> str:
        if self.signal is None:
            return f"exit code {self.code}" if self.code is not None else "exit status unknown"
        try:
            name = signal.Signals(self.signal).name
        except ValueError:
            name = f"signal {self.signal}"
        hint = " (out of memory?)" if self.signal == signal.SIGKILL else ""
        return f"killed by {name}{hint}"


class SpawnRequest(msgspec.Struct, frozen=True):
    """What to boot.

    The new process must call ``entry`` (``"module:function"``) in its main thread as
    ``entry(bootstrap, descriptors)`` and exit with the integer it returns. ``bootstrap`` holds secrets: it
    travels through a pipe or memory, never through argv or the environment. ``descriptors`` maps
    names to file descriptors of this process that the new one must inherit; the mapping given to
    ``entry`` has the numbers they have over there.

    ``env`` of None means this process's environment, ``cwd`` of None its directory; variables that no process
    can have, and what is no path, are a ``ValueError`` or ``TypeError`` here, before a backend sees them.
    ``options`` are addressed to the backend by its own names; one it does not know is a ``ValueError``.
    ``modules`` are some that the actor will import in any case: a backend whose processes share memory may
    import them beforehand.
    ``rehearsal`` (``"module:function"``, no arguments) runs what ``entry`` will run, up to and including a
    first call, in one thread and without a trace: such a backend may call it beforehand too.

    ``parent_addrs`` are the URLs at which ``bootstrap`` tells the actor to dial this one. A backend whose
    processes reach this host another way (from a container, through a tunnel) asks for the blob that says so
    with :meth:`reached_at`.
    """

    name: str
    uuid: str
    entry: str
    bootstrap: bytes
    descriptors: Mapping[str, int] = {}
    env: Mapping[str, str] | None = None
    cwd: str | None = None
    options: Mapping[str, Any] = {}
    modules: Sequence[str] = ()
    rehearsal: str = ""
    parent_addrs: Sequence[str] = ()
    readdress: Callable[[Sequence[str]], bytes] | None = None

    def __post_init__(self) -> None:
        check_environment(self.env)
        directory_path(self.cwd)

    def reached_at(self, parent_addrs: Sequence[str]) -> SpawnRequest:
        """The same for an actor that finds its parent at other URLs. They need to lead to the same
        listeners, by whatever way; the actor tries all of those that its transports take for reachable.

        ``ValueError`` where the request does not know how (one that no runtime made).
        """
        if self.readdress is None:
            raise ValueError("this request's bootstrap blob cannot be made anew for other addresses")
        bootstrap = self.readdress(parent_addrs)
        return msgspec.structs.replace(self, bootstrap=bootstrap, parent_addrs=tuple(parent_addrs))

    @property
    def title(self) -> str:
        """What the process should be called where a process list shows it."""
        return f"tractor[{self.name}@{self.uuid[:8]}]"

    def __repr__(self) -> str:
        return repr_without(self, "bootstrap", "env", "readdress")


class ActorProcess(Protocol):
    """A process started by a backend."""

    pid: int | None

    async def wait(self) -> ExitStatus:
        """Wait until it has ended and was reaped. Any number of waiters; cancellable."""
        ...

    def poll(self) -> ExitStatus | None:
        """How it ended, or None while it runs; reaps without waiting."""
        ...

    def terminate(self) -> None:
        """Ask the operating system to end it (SIGTERM). No effect once it has ended."""
        ...

    def kill(self) -> None:
        """End it (SIGKILL). No effect once it has ended."""
        ...


class SpawnBackend(Protocol):
    """A way to start actor processes, named by ``start_method``."""

    name: str

    async def spawn(self, request: SpawnRequest) -> ActorProcess:
        """Start it and return without waiting for it to boot.

        When this raises or is cancelled, no process of it is left behind. Must be called in the
        thread that runs trio.
        """
        ...
