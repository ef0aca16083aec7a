"""The programs at both ends of a cable: ``python -m cable_ends serve|talk ADDRESS BOUND``.

``BOUND`` says what notices a dead link: ``heartbeat``, by an option of the actors; ``kernel``, with its times
made shorter; or ``transport``, what it notices by itself.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import Any

import separated
import trio

import tractor_core as tractor
from tractor_core.seams import internet

#: Seconds: what the test waits for is this, and the little that goes with it.
HEARTBEAT = {"heartbeat_interval": 0.3, "heartbeat_timeout": 1.5}


def options(bound: str) -> dict[str, Any]:
    """What makes an actor notice a dead link that way. ``kernel``: the same, within seconds."""
    if bound == "kernel":
        internet.KEEPALIVE = (1, 1, 2)
        internet.USER_TIMEOUT = 2000
    return HEARTBEAT if bound == "heartbeat" else {}


def serve(address: str, bound: str) -> None:
    tractor.run_daemon(["separated"], name="far", registry_addrs=[address], **options(bound))


async def talk(address: str, bound: str) -> None:
    own = address.replace("198.51.100.2", "198.51.100.1")
    async with tractor.open_root_actor(
        name="near",
        registry_addrs=[address],
        bind_addrs=[own],
        enable_modules=["separated"],
        **options(bound),
    ):
        async with trio.open_nursery() as nursery:
            for work in (pending_call, busy_stream, called_back):
                await nursery.start(work, address, own)
            tell("under way")
        # All three have ended. Whoever mends the cable says so.
        await trio.to_thread.run_sync(sys.stdin.readline)
        async with tractor.open_portal(address) as portal:
            tell(f"again {await portal.run(separated.add, 1, 2)}")
            while len(seen := await portal.run(separated.noted)) < 2:
                await trio.sleep(0.05)
            tell("over there: " + ", ".join(sorted(seen)))


async def pending_call(address: str, own: str, *, task_status: trio.TaskStatus[None]) -> None:
    async with tractor.find_actor("far", raise_on_none=True) as portal:
        assert await portal.run(separated.add, 1, 1) == 2
        task_status.started()
        await separated.outcome("call", partial(portal.run, separated.wait), tell)


async def busy_stream(address: str, own: str, *, task_status: trio.TaskStatus[None]) -> None:
    async def run() -> None:
        async with tractor.open_portal(address) as portal, portal.open_context(separated.echo) as (ctx, _):
            async with ctx.open_stream() as stream:
                number = 0
                while True:
                    await stream.send(number)
                    assert await stream.receive() == number
                    number += 1
                    if number == 10:
                        task_status.started()
                    await trio.sleep(0.01)

    await separated.outcome("stream", run, tell)


async def called_back(address: str, own: str, *, task_status: trio.TaskStatus[None]) -> None:
    async def run() -> None:
        async with tractor.open_portal(address) as portal:
            async with portal.open_context(separated.calls_back, address=own) as (ctx, _):
                task_status.started()
                await ctx.wait_for_result()

    await separated.outcome("context", run, tell)


def tell(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    assert os.environ["TRACTOR_AUTH_KEY_FILE"]
    role, *arguments = sys.argv[1:]
    if role == "serve":
        serve(*arguments)
    else:
        trio.run(talk, *arguments)
