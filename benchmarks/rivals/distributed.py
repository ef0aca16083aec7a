"""Dask: an actor on the one worker of a local cluster on 127.0.0.1, without a dashboard."""

from __future__ import annotations

import asyncio

from distributed import Client, LocalCluster

from .driver import LARGE, SMALL, adrive, atimed, by_tasks


class Service:
    def add(self, x: int, y: int) -> int:
        return x + y

    def length(self, value: bytes) -> int:
        return len(value)


async def run() -> None:
    async with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None,
        worker_dashboard_address=None, asynchronous=True,
    ) as cluster, Client(cluster, asynchronous=True) as client:  # fmt: skip
        actor = await client.submit(Service, actor=True)
        await adrive(
            "distributed",
            {
                "rpc": lambda count: atimed(lambda: actor.add(1, 2), count),
                "callers": lambda count: by_tasks(lambda: actor.add(1, 2), count),
                "stream": lambda count: atimed(lambda: actor.length(SMALL), count),
                "large": lambda count: atimed(lambda: actor.length(LARGE), count),
            },
        )


if __name__ == "__main__":
    asyncio.run(run())
