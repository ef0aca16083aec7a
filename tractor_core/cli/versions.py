"""``tractor-core version``."""

from __future__ import annotations

import importlib.metadata
import platform
import ssl

_DISTRIBUTIONS = ("tractor-core", "trio", "msgspec", "pluggy")


def versions() -> dict[str, str]:
    """What a bug report should say."""
    found = {name: importlib.metadata.version(name) for name in _DISTRIBUTIONS}
    return {
        **found,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "openssl": ssl.OPENSSL_VERSION,
        "platform": platform.platform(),
    }
