"""A client that joins a tree from outside: ``python -m chaos.visitor VISIT URL [KEY]``, the visit as JSON."""

from __future__ import annotations

import sys

import msgspec
import trio

import tractor_core as tractor

from . import works
from .journal import DEADLINE, journal
from .plan import Visit
from .stacks import show_tasks_on_signal


async def main(visit: Visit, url: str, key: str | None) -> None:
    show_tasks_on_signal()
    journal().write("hello", visit.name)
    async with journal().noted(visit.name, f"visiting {visit.target}"):
        with trio.fail_after(DEADLINE):
            async with tractor.open_portal(url, auth_key=key, name=visit.name) as portal:
                for work in visit.works:
                    async with journal().noted(visit.name, f"{work.kind} {work.target}"):
                        # A client has no children.
                        await works.WITH_PORTAL.get(work.kind, works.calls)(portal, work.size)
    journal().write("bye", visit.name)


if __name__ == "__main__":
    description, url, *rest = sys.argv[1:]
    trio.run(main, msgspec.json.decode(description, type=Visit), url, rest[0] if rest else None)
