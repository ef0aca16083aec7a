"""Two programs of one user that find each other by name.

    python daemon_and_client.py daemon [REGISTRY]       serves until it is cancelled
    python daemon_and_client.py client [REGISTRY]       finds it, calls it, cancels it
    python daemon_and_client.py                         starts the first, then does the second

They meet at the registry: the first program to come becomes its registrar. Without REGISTRY, a URL,
that is at the well-known address of their transport. Nobody else can take part: programs prove to
each other that they hold the same key, by default one that is private to the user.
"""

from __future__ import annotations

import subprocess
import sys
from datetime import date

import timekeeper
import trio

import tractor_core as tractor


async def client(registry: list[str] | None) -> None:
    async with tractor.open_root_actor(name="client", registry_addrs=registry):
        # The daemon may still be starting: wait_for_actor() waits, find_actor() would not.
        with trio.fail_after(10):
            async with tractor.wait_for_actor("timekeeper") as portal:
                print("found", portal.chan.aid.name)

                leap = await portal.run(timekeeper.month, 2024, 2)
                print("February 2024 has", leap.days, "days")

                async with portal.open_stream_from(
                    timekeeper.days, start=date(2024, 2, 28), count=3
                ) as stream:
                    async for day in stream:
                        print(day)

                print("it will end:", await portal.cancel_actor())


def main(role: str = "both", *registry: str) -> None:
    if role == "daemon":
        tractor.run_daemon(["timekeeper"], name="timekeeper", registry_addrs=registry or None)
    elif role == "client":
        trio.run(client, list(registry) or None)
    else:
        with subprocess.Popen([sys.executable, __file__, "daemon", *registry]) as daemon:
            try:
                trio.run(client, list(registry) or None)
            except BaseException:
                daemon.terminate()
                raise
        print("the daemon returned", daemon.returncode)


if __name__ == "__main__":
    main(*sys.argv[1:])
