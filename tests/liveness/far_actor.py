"""A tree of its own that listens over every transport: prints where, as JSON, and serves until killed."""

from __future__ import annotations

import json

import liveness_endpoints
import trio
from everywhere import options

import tractor_core as tractor


async def serve() -> None:
    async with tractor.open_root_actor(
        name="far", enable_modules=[liveness_endpoints.__name__], **options()
    ) as actor:
        print(json.dumps([address.url for address in actor.accept_addrs]), flush=True)
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(serve)
