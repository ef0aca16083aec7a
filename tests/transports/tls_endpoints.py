"""Functions that the tests of trees over TLS run in other processes."""

from __future__ import annotations

import tractor_core as tractor


async def whoami() -> str:
    return tractor.current_actor().name


async def addresses() -> list[str]:
    return [address.url for address in tractor.current_actor().accept_addrs]


async def grandchild() -> tuple[str, bool]:
    """A child's name, and whether the connection to it is encrypted."""
    async with tractor.open_nursery() as nursery:
        portal = await nursery.start_actor("leaf", enable_modules=[__name__])
        answer = await portal.run(whoami), portal.chan.peer.facts.encrypted
        await portal.cancel_actor()
        return answer


async def spawn_elsewhere() -> bool:
    """Whether a child in another directory than this process can be had over TLS."""
    async with tractor.open_nursery() as nursery:
        portal = await nursery.start_actor("far", enable_modules=[__name__], proc_kwargs={"cwd": "/"})
        await portal.run(whoami)
        await portal.cancel_actor()
    return True


async def ask(url: str) -> None:
    """Print who is at ``url`` and by which method this program was let in; else the error's name."""
    try:
        async with tractor.open_portal(url) as portal:
            print(await portal.run(whoami), portal.chan.peer.method)
    except (OSError, tractor.errors.TractorError) as error:
        print(type(error).__name__, error)
