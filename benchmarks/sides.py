"""Who does the work of a row: our actors, the floors beneath them, and rivals."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tractor_core.cli.certificates import make as make_certificates

from .actors import Actors, open_actors
from .bare import Bare, open_bare
from .bare_zmq import BareZmq, open_bare_zmq
from .interpreters import Forker, open_forker
from .raw import Raw, open_raw
from .rival import Rival

ENCRYPTED = ("tls", "wss")


@dataclass(frozen=True)
class Sides:
    """All sides of one transport, each in a process of its own, waiting for their turn."""

    transport: str
    actors: Actors
    bare: Bare
    raw: Raw | None
    forker: Forker
    #: Beside unix sockets only, which it uses itself.
    zmq: BareZmq | None = None
    #: Rivals choose how they are reached themselves, so they stand beside one transport only.
    rivals: Sequence[Rival] = field(default_factory=tuple)


@asynccontextmanager
async def open_sides(transport: str, directory: str, rivals: Sequence[Rival] = ()) -> AsyncIterator[Sides]:
    """Start and connect them; their sockets lie in ``directory``."""
    if transport in ENCRYPTED:
        # Where both our actors and the floor look for them.
        made = make_certificates(Path(directory, "tls"), [], 1, None)
        os.environ.update({variable: str(path) for variable, path in made.items()})
    async with AsyncExitStack() as stack:
        yield Sides(
            transport,
            await stack.enter_async_context(open_actors(transport, directory)),
            await stack.enter_async_context(open_bare(transport, directory)),
            await stack.enter_async_context(open_raw(transport, directory)),
            await stack.enter_async_context(open_forker()),
            await stack.enter_async_context(open_bare_zmq(directory)) if transport == "uds" else None,
            rivals,
        )
