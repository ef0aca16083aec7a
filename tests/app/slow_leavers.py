"""Endpoints for real processes: actors that clean up after their last goodbye."""

from __future__ import annotations

import time
from pathlib import Path

import trio

import tractor_core as tractor


async def finish_late(place: str, seconds: float) -> None:
    """Have this actor take ``seconds`` for the last thing that it does, when its channels are closed."""

    def finish() -> None:
        time.sleep(seconds)
        Path(place).write_text("finished")

    tractor.current_actor().lifetime_stack.callback(finish)


async def leave() -> None:
    """End this actor."""
    tractor.current_actor().cancel_soon()
    await trio.sleep_forever()
