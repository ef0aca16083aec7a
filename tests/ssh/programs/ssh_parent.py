"""A program with an actor behind SSH, and one below that; prints their process ids and waits to be killed.

argv: the registry's URL, and the backend's options as JSON.
"""

from __future__ import annotations

import json
import sys

import ssh_endpoints
import trio

import tractor_core as tractor


async def main() -> None:
    async with tractor.open_nursery(registry_addrs=[sys.argv[1]]) as nursery:
        portal = await nursery.start_actor(
            "far",
            enable_modules=["ssh_endpoints"],
            inherit_parent_main=False,
            start_method="ssh",
            spawn_options=json.loads(sys.argv[2]),
        )
        async with portal.open_context(ssh_endpoints.pair) as (_, pids):
            print(json.dumps(pids), flush=True)
            await trio.sleep_forever()


trio.run(main)
