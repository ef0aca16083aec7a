"""An actor's end of a connection, in a process of its own: ``python zmq_victim.py ROLE URL``.

Roles: ``dial`` and ``listen`` send a window full of frames and close, ``listen-briefly`` sends one;
``compute-dial`` and ``compute-listen`` compute while the peer does as it likes, and read afterwards. It says
what it does on stdout, and computes until a line comes on stdin. Heartbeats are more frequent than usual and
closed sockets linger longer, so that what must not happen has the time to; ``patient`` behind the URL makes
that far longer.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any

import trio
import zmq
from zmq_peer import OPTIONS, transport_of

from tractor_core.errors import TransportClosed
from tractor_core.seams import Connection
from tractor_zmq import dialling, listening, options

FRAMES = 4

options.HEARTBEAT_INTERVAL = 50
dialling.LINGER = listening.LINGER = 1500


def say(what: str) -> None:
    print(what, flush=True)


def compute() -> None:
    """Be away, as if for a computation, until told to come back."""
    sys.stdin.readline()


def send_window(connection: Connection) -> None:
    """Exactly as much as may be under way to a peer that takes nothing."""
    assert connection.send_nowait([b"%d" % number + bytes(262_000) for number in range(FRAMES)]) == FRAMES


async def compute_and_read(connection: Connection) -> None:
    say("away")
    compute()
    try:
        while True:
            assert await connection.receive()
    except TransportClosed as error:
        say(f"ended: {error}")


async def dial(role: str, url: str) -> None:
    transport = transport_of(url)
    connection = await transport.connect(transport.parse(url), OPTIONS)
    if role == "compute-dial":
        await compute_and_read(connection)
        await connection.aclose()
        return
    send_window(connection)
    await connection.aclose()
    say("closed")


async def listen(role: str, url: str) -> None:
    transport = transport_of(url)
    listener = await transport.listen(transport.parse(url), OPTIONS)
    done, unbinding = trio.Event(), trio.Event()
    unbind = zmq.Socket.unbind

    def observed(self: zmq.Socket[bytes], *args: Any) -> None:
        unbinding.set()
        unbind(self, *args)
        if role == "listen-briefly":
            # The very thread that unbinds is held up.
            say("unbinding")
            compute()

    zmq.Socket.unbind = observed  # type: ignore[method-assign,assignment]

    async def handler(connection: Connection) -> None:
        if role == "compute-listen":
            await compute_and_read(connection)
        else:
            if role == "listen-briefly":
                connection.send_nowait([b"hello"])
            else:
                send_window(connection)
            await connection.aclose()
        done.set()

    async def disturb() -> None:
        """The loop has other things to do just then."""
        await unbinding.wait()
        say("unbinding")
        compute()

    async def serve() -> None:
        with suppress(trio.ClosedResourceError):
            await listener.serve(handler)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        say(listener.address.url)
        if role == "listen":
            nursery.start_soon(disturb)
        await done.wait()
        say("closed")
        await listener.aclose()


if __name__ == "__main__":
    if sys.argv[3:] == ["patient"]:
        dialling.LINGER = listening.LINGER = 25_000
    trio.run(dial if "dial" in sys.argv[1] else listen, sys.argv[1], sys.argv[2])
    say("the end")
