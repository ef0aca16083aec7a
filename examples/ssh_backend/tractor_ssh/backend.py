"""Starting an actor through a proxy process of this host."""

from __future__ import annotations

import fcntl
import json
import os
import signal
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
    lines, outlets = _directions(request)
    parameters = {"order": order, "lines": lines, "outlets": outlets, "command": command}
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


def _directions(request: SpawnRequest) -> tuple[list[int], list[int]]:
    """Descriptors whose end the actor waits for (lifelines), and those that it may write to."""
    lines: list[int] = []
    outlets: list[int] = []
    for number in request.descriptors.values():
        mode = fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE
        (lines if mode == os.O_RDONLY else outlets).append(number)
    return lines, outlets


def _order(options: SSHOptions, request: SpawnRequest) -> bytes:
    """What remote.py reads behind its own source: a line of JSON, and the bootstrap blob."""
    lines, outlets = _directions(request)
    names = {number: name for name, number in request.descriptors.items()}
    order = {
        "entry": request.entry,
        "title": request.title,
        "path": options.path,
        "env": None if request.env is None else dict(request.env),
        "cwd": request.cwd,
        "lines": [names[number] for number in lines],
        "outlets": [names[number] for number in outlets],
        "bootstrap": len(request.bootstrap),
    }
    return json.dumps(order).encode() + b"\n" + request.bootstrap


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
