"""A plain trio program that calls an actor, without being one.

``open_portal()`` dials an actor by its address. No registry is asked and no runtime is started: the
program can call and cannot be called. Give it the address of a timekeeper, such as the one that
``python timekeeper.py`` prints; otherwise it starts one itself.
"""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import timekeeper
import trio

import tractor_core as tractor


async def show_months(address: str) -> None:
    async with tractor.open_portal(address) as portal:
        print("dialled", portal.chan.aid.name)

        # Calls share the connection, and none of them waits for another.
        async def ask(number: int) -> None:
            answers[number] = (await portal.run(timekeeper.month, year=2023, number=number)).days

        answers: dict[int, int] = {}
        async with trio.open_nursery() as nursery:
            for number in range(1, 13):
                nursery.start_soon(ask, number)
        print("days of the months of 2023:", *(answers[number] for number in range(1, 13)))

        try:
            await portal.run(timekeeper.month, year=2023, number=13)
        except tractor.RemoteActorError as error:
            print(f"the thirteenth: {error.boxed_type_str}: {error.message}")


async def main(address: str | None) -> None:
    if address is not None:
        await show_months(address)
        return
    command = [sys.executable, str(Path(__file__).with_name("timekeeper.py"))]
    async with trio.open_nursery() as nursery:
        process = await nursery.start(partial(trio.run_process, command, stdout=subprocess.PIPE))
        try:
            await show_months((await process.stdout.receive_some()).decode().strip())
        finally:
            nursery.cancel_scope.cancel()  # ends the other program by SIGTERM


if __name__ == "__main__":
    trio.run(main, sys.argv[1] if len(sys.argv) > 1 else None)
