"""One actor at several addresses, and a portal over each of them.

An address is a URL, and its scheme names the transport. ``bind_addrs`` says where an actor listens;
``open_portal()`` dials it there, whatever else it may be reached by.
"""

from __future__ import annotations

import tempfile

import trio

import tractor_core as tractor


async def greet(name: str) -> str:
    return f"{tractor.current_actor().name} greets {name}"


async def addresses() -> list[str]:
    """Where this actor listens. Port 0 has become a real one."""
    return [address.url for address in tractor.current_actor().accept_addrs]


async def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        bind_addrs = ["tcp://127.0.0.1:0", f"uds://{directory}/daemon.sock"]
        async with tractor.open_nursery() as nursery:
            daemon = await nursery.start_actor("daemon", enable_modules=[__name__], bind_addrs=bind_addrs)
            for url in await daemon.run(addresses):
                async with tractor.open_portal(url) as portal:
                    answer = await portal.run(greet, name=f"whoever dials {portal.chan.raddr.scheme}")
                    print(answer)
            await daemon.cancel_actor()


if __name__ == "__main__":
    trio.run(main)
