"""Starts actors through :mod:`multiprocessing`."""

from __future__ import annotations

import trio

from tractor_core.seams import SpawnRequest
from tractor_core.seams.pipes import write_or_kill

from .child import main
from .launch import Process, inheritable
from .process import MultiprocessingActor


class MultiprocessingBackend:
    """Spawn method ``multiprocessing``: for programs that use its queues, locks and shared memory anyway.

    An actor finds itself in a process of the spawn context: it has the parent's ``authkey`` and resource
    tracker, ``parent_process()`` works, and stdin is ``/dev/null``. The resource tracker, which the standard
    library starts with the first of them, stays until this process ends. It takes no options.
    """

    name = "multiprocessing"

    async def spawn(self, request: SpawnRequest) -> MultiprocessingActor:
        """Start a process for ``request``.

        ``ValueError`` for any option; ``OSError`` where the system refuses.
        """
        if request.options:
            given = ", ".join(sorted(request.options))
            raise ValueError(f"start method {self.name!r} takes no options, got: {given}")
        await trio.lowlevel.checkpoint_if_cancelled()
        with inheritable(request.descriptors) as descriptors:
            arguments = (request.entry, request.title, request.bootstrap, descriptors)
            popen = Process(target=main, name=request.name, args=arguments).launch(
                env=request.env, cwd=request.cwd
            )
        process = MultiprocessingActor(popen)
        await write_or_kill(process, popen.parent_end, popen.message)
        del popen.message
        return process


#: What the entry point names.
backend = MultiprocessingBackend()
