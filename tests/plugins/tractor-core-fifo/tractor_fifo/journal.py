"""Hooks that write down what happens: a line for each actor and channel, appended to one file by all of them.

The file is named by the environment variable TRACTOR_JOURNAL; without it nothing is written.
"""

from __future__ import annotations

import os
from typing import Any

from tractor_core.seams import hookimpl


@hookimpl
def tractor_actor_starting(actor: Any) -> None:
    """One line: ``starting NAME PID``."""
    _write(f"starting {actor.aid.name} {os.getpid()}")


@hookimpl
def tractor_actor_stopped(actor: Any) -> None:
    """One line: ``stopped NAME PID``."""
    _write(f"stopped {actor.aid.name} {os.getpid()}")


@hookimpl
def tractor_channel_opened(channel: Any) -> None:
    """One line: ``channel PID SCHEME``."""
    _write(f"channel {os.getpid()} {channel.laddr.scheme}")


def _write(line: str) -> None:
    path = os.environ.get("TRACTOR_JOURNAL")
    if path:
        # Opened for each line, and appended in one write, so that many processes can.
        with open(path, "a", encoding="utf-8") as journal:
            journal.write(f"{line}\n")
