"""What the children of a parent that computes are asked, in processes of their own."""

from __future__ import annotations

import os


async def process_id() -> int:
    return os.getpid()
