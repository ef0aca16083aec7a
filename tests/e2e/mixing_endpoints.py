"""Actors that start others, by whatever method they are told."""

from __future__ import annotations

import os

import tractor_core as tractor


async def started_by() -> list[str]:
    """This process, its parent and the backend that its own children get unless they are told otherwise."""
    return [str(os.getpid()), tractor.current_actor().start_method]


async def below(methods: list[str | None]) -> list[list[str]]:
    """Start an actor by the first of these, have it start one by the second, and so on; what each tells."""
    told = [await started_by()]
    if methods:
        async with tractor.open_nursery() as nursery:
            portal = await nursery.start_actor(
                f"{tractor.current_actor().name}.{methods[0]}",
                enable_modules=[__name__],
                start_method=methods[0],
            )
            told += await portal.run(below, methods[1:])
            await nursery.cancel()
    return told
