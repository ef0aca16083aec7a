"""The table, and the same for machines."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from statistics import median
from typing import Any

from .measuring import Result

HEADINGS = ("row", "work", "transport", "unit", "tractor-core", "spread", "bare", "floor", "ratio")
_LEFT = {"row", "work", "transport", "unit", "floor"}


def versions() -> dict[str, str]:
    """What was measured, and on what."""
    packages = ("tractor-core", "trio", "msgspec", "pyzmq", "trio-websocket")
    return {
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
    }


def table(results: Sequence[Result]) -> str:
    """Medians, ours beside the floor's. Less is better for times (us, ms), more for rates (/s)."""
    lines = [HEADINGS, *(_cells(result) for result in results)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    aligned = [
        "  ".join(
            cell.ljust(width) if heading in _LEFT else cell.rjust(width)
            for heading, cell, width in zip(HEADINGS, line, widths, strict=True)
        ).rstrip()
        for line in lines
    ]
    aligned.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(aligned)


def _cells(result: Result) -> tuple[str, ...]:
    row = result.row
    return (
        row.name,
        row.title,
        result.transport,
        row.unit,
        f"{median(result.ours):,.1f}" if row.unit != "/s" else f"{median(result.ours):,.0f}",
        f"{result.spread:.0%}",
        f"{median(result.bare):,.1f}" if row.unit != "/s" else f"{median(result.bare):,.0f}",
        row.floor,
        f"{result.ratio:.2f}",
    )


def as_json(results: Sequence[Result]) -> dict[str, Any]:
    """Everything that was measured."""
    return {
        "versions": versions(),
        "results": [
            {
                "row": result.row.name,
                "transport": result.transport,
                "unit": result.row.unit,
                "count": result.count,
                "floor": result.row.floor,
                "ours": result.ours,
                "bare": result.bare,
                "ratio": result.ratio,
            }
            for result in results
        ],
    }
