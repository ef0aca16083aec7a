"""A process at one end of a connection: ``python zmq_peer.py listen|dial URL``.

It echoes every frame. ``b"busy SECONDS"`` makes it compute for so long, without a checkpoint, before
it answers.
"""

from __future__ import annotations

import sys
import time

import trio

import tractor_zmq
from tractor_core.seams import Connection, TransportOptions

KEY = b"k" * 32
OPTIONS = TransportOptions(key=KEY, connect_timeout=15.0)


def transport_of(url: str) -> tractor_zmq.ZmqTcpTransport | tractor_zmq.ZmqIpcTransport:
    return tractor_zmq.ipc_transport if url.startswith("zmq+ipc") else tractor_zmq.transport


async def send_all(connection: Connection, frames: list[bytes]) -> None:
    while frames:
        frames = frames[connection.send_nowait(frames) :]
        if connection.pending:
            await connection.flush()


async def echo(connection: Connection) -> None:
    connection.max_frame = 256 * 1024
    while frames := await connection.receive():
        for frame in frames:
            if bytes(frame).startswith(b"busy "):
                time.sleep(float(bytes(frame).split()[1]))
        await send_all(connection, [bytes(frame) for frame in frames])


async def main(role: str, url: str) -> None:
    transport = transport_of(url)
    address = transport.parse(url)
    if role == "dial":
        connection = await transport.connect(address, OPTIONS)
        await echo(connection)
        await connection.aclose()
        return
    listener = await transport.listen(address, OPTIONS)
    print(listener.address.url, flush=True)
    await listener.serve(echo)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2])
