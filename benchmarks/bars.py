"""The ratios of a run as one drawing: how near every row is to what it is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import log10

from .measuring import Comparison, Result

_LINE, _LABELS, _WIDTH = 16, 430, 340
#: Ratios beyond these (decades from 1) are drawn at the edge.
_DECADES = 2.0
_BETTER, _WORSE, _MISSED = "#3b8f5a", "#1f6fb4", "#d1603d"


def bars(results: Sequence[Result]) -> str:
    """A bar for each comparison, to the right where ours is better; a missed target in red."""
    drawn = [(result, other) for result in results for other in result.comparisons]
    height = _LINE * (len(drawn) + 2)
    middle = _LABELS + _WIDTH / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LABELS + _WIDTH + 60} {height}" '
        f'width="{_LABELS + _WIDTH + 60}" height="{height}" font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
        *(_decade(power, middle, height) for power in (-2, -1, 0, 1, 2)),
    ]
    for number, (result, other) in enumerate(drawn, 1):
        parts.extend(_bar(result, other, number * _LINE + 12, middle))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _decade(power: int, middle: float, height: int) -> str:
    at = middle + power * _WIDTH / 2 / _DECADES
    label = (
        f"{10**power:g}&#215; better" if power > 0 else f"{10**-power:g}&#215; worse" if power else "equal"
    )
    return (
        f'<line x1="{at}" y1="16" x2="{at}" y2="{height}" stroke="#dddddd"/>'
        f'<text x="{at}" y="12" text-anchor="middle" fill="#777777">{label}</text>'
    )


def _bar(result: Result, other: Comparison, y: float, middle: float) -> list[str]:
    ratio = other.ratio(result.ours)
    better = ratio if result.row.unit == "/s" else 1 / ratio
    length = max(-_DECADES, min(_DECADES, log10(better))) * _WIDTH / 2 / _DECADES
    missed = other.target is not None and not other.target.met(ratio)
    colour = _MISSED if missed else _BETTER if better >= 1 else _WORSE
    label = escape(f"{result.row.name} over {result.transport}, {other.name}")
    return [
        f'<text x="{_LABELS - 8}" y="{y}" text-anchor="end">{label}</text>',
        f'<rect x="{middle + min(0.0, length):.1f}" y="{y - 9}" width="{abs(length):.1f}" height="10" '
        f'fill="{colour}"/>',
        f'<text x="{_LABELS + _WIDTH + 6}" y="{y}">{ratio:.2f}</text>',
    ]
