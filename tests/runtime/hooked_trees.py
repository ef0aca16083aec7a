"""Trees in memory whose actors tell hooks of a test what happens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import tractor_core as tractor
from tractor_core.plugin.manager import PluginManager


@asynccontextmanager
async def tree(root: str, module: str, *hooks: object) -> AsyncIterator[tractor.Portal]:
    """A root at the address ``root`` and a worker that both expose ``module``: a portal to the worker."""
    plugins = PluginManager.from_environment()
    for number, hook in enumerate(hooks):
        plugins.register(hook, f"test-{number}")
    async with tractor.open_nursery(
        registry_addrs=[root], start_method="inproc", enable_modules=[module], plugins=plugins
    ) as nursery:
        yield await nursery.start_actor("worker", enable_modules=[module])
        await nursery.cancel()
