"""A spawn backend that cannot be imported."""

from __future__ import annotations

raise RuntimeError("the hinge is rusted through")
