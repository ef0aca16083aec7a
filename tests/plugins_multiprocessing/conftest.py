"""The resource tracker is the standard library's, and stays for as long as this process."""

from __future__ import annotations

from collections.abc import Iterator
from multiprocessing import resource_tracker

import pytest


@pytest.fixture(scope="module", autouse=True)
def _tracker() -> Iterator[None]:
    """Started before the first census of a module, and gone after its last."""
    resource_tracker.ensure_running()
    yield
    resource_tracker._resource_tracker._stop()
