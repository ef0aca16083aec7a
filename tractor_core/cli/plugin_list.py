"""``tractor-core plugins``."""

from __future__ import annotations

from typing import Any

from tractor_core.plugin import PluginManager, ProviderStatus

from .output import Column

COLUMNS: tuple[Column, ...] = (
    ("KIND", "kind"),
    ("NAME", "name"),
    ("DISTRIBUTION", "distribution"),
    ("VERSION", "version"),
    ("STATUS", "status"),
    ("IMPORT MS", "import_ms"),
)


def rows() -> list[dict[str, Any]]:
    """One row for each provider; ``import_ms`` is None for what was not imported."""
    return [_row(status) for status in PluginManager.from_environment().list_providers()]


def _row(status: ProviderStatus) -> dict[str, Any]:
    provider = status.provider
    return {
        "kind": provider.kind,
        "name": provider.name,
        "distribution": provider.distribution,
        "version": provider.version,
        "target": provider.target,
        "status": status.status,
        "import_ms": None if status.seconds is None else round(status.seconds * 1000, 1),
        "detail": status.detail,
    }
