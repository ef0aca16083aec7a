"""Starting an actor through a proxy process of this host."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import msgspec
import trio

from tractor_core.seams import ChildProcess, ExitStatus, SpawnRequest

from . import proxy
from .options import SSHOptions, way_to_parent

_REMOTE = Path(__file__).with_name("remote.py")


class RemoteActor(ChildProcess):
    """An actor on another host; ``pid`` is that of its proxy here, which ends as the actor does."""

    def __init__(self, pid: int, host: str) -> None:
        super().__init__(pid)
        self._host = host

    def poll(self) -> ExitStatus | None:
        """How it ended; an exit code of ssh's own is explained by a note."""
        status = super().poll()
        if status is not None and status.code == proxy.CONNECTION_LOST:
            note = f"the SSH connection to {self._host} was lost, or never made"
            return msgspec.structs.replace(status, note=note)
        return status


class SSHBackend:
    """Spawn method ``ssh``; see :class:`SSHOptions` for what it takes.

    The actor's environment is that of a login over there, with ``env`` on top; it starts in the login's
    directory unless ``cwd`` says otherwise. What it prints arrives at the parent's own streams.
    """

    name = "ssh"

    async def spawn(self, request: SpawnRequest) -> RemoteActor:
        """Start a proxy, which connects. ``ValueError`` for options that make no sense."""
        options = SSHOptions.from_mapping(request.options)
        forwards: list[str] = []
        if request.parent_addrs:
            way = way_to_parent(request.parent_addrs, options.tunnel)
            forwards = way.forwards
            request = request.reached_at(way.parent_addrs)
        await trio.lowlevel.checkpoint_if_cancelled()
        source = _REMOTE.read_bytes()
        read_end, write_end = os.pipe()
        try:
            try:
                process = _start(options, options.command(forwards, len(source)), request, read_end)
            finally:
                os.close(read_end)
            try:
                await _write(write_end, source + _order(options, request))
            except BaseException:
                process.kill()
                with trio.CancelScope(shield=True):
                    await process.wait()
                raise
        finally:
            os.close(write_end)
        return process


def _start(options: SSHOptions, command: list[str], request: SpawnRequest, order: int) -> RemoteActor:
    """Start the proxy, in this very thread; it inherits what the actor would if it were here."""
    parameters: dict[str, object] = {"order": order, "command": command}
    for kind, named in _sorted_by_kind(request).items():
        parameters[kind] = list(named.values())
    # SIGINT is blocked until the proxy ignores it: a terminal sends it to everybody.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
    try:
        popen = subprocess.Popen(
            [sys.executable, "-I", "-S", proxy.__file__, json.dumps(parameters)],
            pass_fds=(order, *request.descriptors.values()),
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    # RemoteActor reaps it; Popen is told that there is nothing left to do.
    popen.returncode = 0
    return RemoteActor(popen.pid, options.host)


def _sorted_by_kind(request: SpawnRequest) -> dict[str, dict[str, int]]:
    """What the actor is to inherit, by what can be done for it on another host.

    Of *lines* the actor waits for the end, *outlets* it writes to, and *files* it leaves filled.
    """
    kinds: dict[str, dict[str, int]] = {"lines": {}, "outlets": {}, "files": {}}
    for name, number in request.descriptors.items():
        if stat.S_ISREG(os.fstat(number).st_mode):
            kind = "files"
        else:
            mode = fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE
            kind = "lines" if mode == os.O_RDONLY else "outlets"
        kinds[kind][name] = number
    return kinds


def _order(options: SSHOptions, request: SpawnRequest) -> bytes:
    """What remote.py reads behind its own source: JSON, headed by its length, and the bootstrap blob."""
    order = {
        "entry": request.entry,
        "title": request.title,
        "path": options.path,
        "env": None if request.env is None else dict(request.env),
        "cwd": request.cwd,
        "bootstrap": len(request.bootstrap),
        **{kind: list(named) for kind, named in _sorted_by_kind(request).items()},
    }
    text = json.dumps(order).encode()
    return len(text).to_bytes(8, "big") + text + request.bootstrap


async def _write(write_end: int, data: bytes) -> None:
    """Write all of it. A proxy that ends before it has read everything is no error: its exit status tells."""
    os.set_blocking(write_end, False)
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(write_end, rest) :]
        except BlockingIOError:
            await trio.lowlevel.wait_writable(write_end)
        except BrokenPipeError:
            break
    await trio.lowlevel.cancel_shielded_checkpoint()
