"""The table, and the same for machines."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from statistics import median
from typing import Any

from .measuring import Comparison, Result

HEADINGS = (
    "row", "work", "transport", "unit", "tractor-core", "spread",
    "against", "theirs", "ratio", "target", "met",
)  # fmt: skip
_LEFT = {"row", "work", "transport", "unit", "against", "target", "met"}


def versions() -> dict[str, str]:
    """What was measured, and on what."""
    packages = ("tractor-core", "trio", "msgspec", "pyzmq", "trio-websocket")
    return {
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "load average": f"{os.getloadavg()[0]:.1f}",
    }


def table(results: Sequence[Result]) -> str:
    """Medians, ours beside theirs. Less is better for times (us, ms) and sizes (MB), more for rates (/s)."""
    lines = [HEADINGS, *(cells for result in results for cells in _lines(result))]
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


def _lines(result: Result) -> Iterator[tuple[str, ...]]:
    """One for each other side; the first also tells what ours is."""
    row = result.row
    ours = (
        row.name,
        row.title,
        result.transport,
        row.unit,
        _figure(result.ours, row.unit),
        f"{result.spread:.0%}",
    )
    if not result.comparisons:
        yield (*ours, "", "", "", "", "")
    for number, other in enumerate(result.comparisons):
        left = ours if not number else (row.name, "", result.transport, row.unit, "", "")
        yield (*left, *_compared(other, result))


def _compared(other: Comparison, result: Result) -> tuple[str, ...]:
    ratio, target = other.ratio(result.ours), other.target
    met = "" if target is None else "yes" if target.met(ratio) else "NO"
    return other.name, _figure(other.figures, result.row.unit), f"{ratio:.2f}", str(target or ""), met


def _figure(figures: Sequence[float], unit: str) -> str:
    return f"{median(figures):,.0f}" if unit == "/s" else f"{median(figures):,.1f}"


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
                "ours": result.ours,
                "against": [
                    {
                        "name": other.name,
                        "figures": other.figures,
                        "ratio": other.ratio(result.ours),
                        "target": str(other.target or ""),
                    }
                    for other in result.comparisons
                ],
            }
            for result in results
        ],
    }
