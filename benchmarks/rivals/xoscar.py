"""xoscar: an actor in the one sub-process of a pool on 127.0.0.1."""

from __future__ import annotations

import asyncio
import socket

import xoscar

from .driver import LARGE, SMALL, adrive, atimed, by_tasks


class Service(xoscar.Actor):
    async def add(self, x: int, y: int) -> int:
        return x + y

    async def length(self, value: bytes) -> int:
        return len(value)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


async def run() -> None:
    pool = await xoscar.create_actor_pool(f"127.0.0.1:{free_port()}", n_process=1)
    async with pool:
        strategy = xoscar.allocate_strategy.ProcessIndex(1)
        actor = await xoscar.create_actor(
            Service, address=pool.external_address, uid="service", allocate_strategy=strategy
        )
        await adrive(
            "xoscar",
            {
                "rpc": lambda count: atimed(lambda: actor.add(1, 2), count),
                "callers": lambda count: by_tasks(lambda: actor.add(1, 2), count),
                "stream": lambda count: atimed(lambda: actor.length(SMALL), count),
                "large": lambda count: atimed(lambda: actor.length(LARGE), count),
            },
        )


if __name__ == "__main__":
    asyncio.run(run())
