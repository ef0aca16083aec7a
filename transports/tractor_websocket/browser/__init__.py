"""The client for web pages: ``tractor.js``, an ES module, with its TypeScript declarations."""

from __future__ import annotations

from pathlib import Path


def browser_module() -> Path:
    """The file ``tractor.js``, for a service to serve to its pages as ``text/javascript``.

    It imports nothing else. ``tractor.d.ts`` is beside it.
    """
    return Path(__file__).with_name("tractor.js")


__all__ = ["browser_module"]
