"""What the actors of these tests do when asked."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator


async def pid() -> int:
    return os.getpid()


async def numbers(stop: int) -> AsyncIterator[int]:
    for number in range(stop):
        yield number
