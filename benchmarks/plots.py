"""Line plots as SVG: all that curves over time and size need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from math import ceil, floor, log10

WIDTH, HEIGHT = 420, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 66, 16, 34, 44
_COLOURS = ("#1f6fb4", "#d1603d", "#3b8f5a", "#7d5ba6", "#a08a2e", "#4c4c4c")

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """One curve, its points from left to right."""

    label: str
    points: Sequence[Point]


@dataclass(frozen=True)
class Panel:
    """One pair of axes. What starts at zero shows how flat a curve is; logarithms show ratios."""

    title: str
    x: str
    y: str
    lines: Sequence[Line] = field(default_factory=tuple)
    log_x: bool = False
    log_y: bool = False


@dataclass(frozen=True)
class Axis:
    """Values to pixels."""

    low: float
    high: float
    begin: float
    end: float
    log: bool

    @classmethod
    def over(cls, values: Sequence[float], begin: float, end: float, log: bool) -> Axis:
        """An axis that holds all ``values`` and, unless logarithmic, zero."""
        if log:
            positive = [value for value in values if value > 0] or [1.0]
            low, high = 10.0 ** floor(log10(min(positive))), 10.0 ** ceil(log10(max(positive)))
            return cls(low, high if high > low else low * 10, begin, end, log)
        return cls(0.0, _round_up(max(values, default=1.0)), begin, end, log)

    def place(self, value: float) -> float:
        if self.log:
            part = (log10(max(value, self.low)) - log10(self.low)) / (log10(self.high) - log10(self.low))
        else:
            part = (value - self.low) / (self.high - self.low)
        return self.begin + part * (self.end - self.begin)

    def ticks(self) -> list[float]:
        if self.log:
            first, last = round(log10(self.low)), round(log10(self.high))
            return [10.0**power for power in range(first, last + 1)]
        return [self.low + (self.high - self.low) * part / 4 for part in range(5)]


def svg(panels: Sequence[Panel], columns: int = 2) -> str:
    """A drawing of all panels, in rows of ``columns``."""
    columns = min(columns, len(panels))
    rows = ceil(len(panels) / columns)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {columns * WIDTH} {rows * HEIGHT}" '
        f'width="{columns * WIDTH}" height="{rows * HEIGHT}" font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for number, panel in enumerate(panels):
        across, down = number % columns * WIDTH, number // columns * HEIGHT
        parts.append(f'<g transform="translate({across} {down})">')
        parts.extend(_panel(panel))
        parts.append("</g>")
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def _panel(panel: Panel) -> list[str]:
    xs = [x for line in panel.lines for x, _ in line.points]
    ys = [y for line in panel.lines for _, y in line.points]
    x = Axis.over(xs, _LEFT, WIDTH - _RIGHT, panel.log_x)
    y = Axis.over(ys, HEIGHT - _BOTTOM, _TOP, panel.log_y)
    return [
        _text(panel.title, WIDTH / 2, 14, weight="bold"),
        *_grid(x, y),
        _text(panel.x, (_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - 8),
        _text(panel.y, 12, (_TOP + HEIGHT - _BOTTOM) / 2, turned=True),
        *(part for number, line in enumerate(panel.lines) for part in _curve(line, number, x, y)),
        *_legend(panel.lines),
    ]


def _grid(x: Axis, y: Axis) -> list[str]:
    parts = []
    for value in y.ticks():
        at = y.place(value)
        parts.append(_rule(x.begin, at, x.end, at))
        parts.append(_text(_short(value), x.begin - 6, at + 4, anchor="end"))
    for value in x.ticks():
        at = x.place(value)
        parts.append(_rule(at, y.begin, at, y.end))
        parts.append(_text(_short(value), at, y.begin + 15))
    return parts


def _curve(line: Line, number: int, x: Axis, y: Axis) -> list[str]:
    colour = _COLOURS[number % len(_COLOURS)]
    places = [(x.place(across), y.place(up)) for across, up in line.points]
    joined = " ".join(f"{across:.1f},{up:.1f}" for across, up in places)
    parts = [f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="1.6"/>']
    if len(places) <= 20:
        parts += [
            f'<circle cx="{across:.1f}" cy="{up:.1f}" r="2.6" fill="{colour}"/>' for across, up in places
        ]
    return parts


def _legend(lines: Sequence[Line]) -> list[str]:
    """In one line below the title, each label as wide as its letters."""
    parts: list[str] = []
    at = float(_LEFT)
    if len(lines) < 2:
        return parts
    for number, line in enumerate(lines):
        colour = _COLOURS[number % len(_COLOURS)]
        parts.append(f'<rect x="{at:.0f}" y="21" width="8" height="8" fill="{colour}"/>')
        parts.append(_text(line.label, at + 11, 29, anchor="start"))
        at += 24 + 5.8 * len(line.label)
    return parts


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#dddddd"/>'


def _text(
    text: str, x: float, y: float, *, anchor: str = "middle", weight: str = "normal", turned: bool = False
) -> str:
    turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turned else ""
    look = f'text-anchor="{anchor}" font-weight="{weight}"{turn}'
    return f'<text x="{x:.1f}" y="{y:.1f}" {look}>{escape(text)}</text>'


def _round_up(value: float) -> float:
    """The next number whose quarters are easy to read."""
    if value <= 0:
        return 1.0
    power = 10.0 ** floor(log10(value))
    return next(power * step for step in (1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10, 12) if power * step >= value)


def _short(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:.3g}"
