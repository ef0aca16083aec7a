"""Draws the dialog machine's tables for the documentation.

``python tests/protocol/dialog_diagrams.py`` writes the files anew; a test says when that is due.
"""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

from tractor_core.protocol.dialog import CALLEE, OPENER, Dialog, Event, Local, Side, State, Table

DOCS = Path(__file__).resolve().parents[2] / "docs" / "reference"
TABLES = {Side.OPENER: OPENER, Side.CALLEE: CALLEE}

BOX_WIDTH, BOX_HEIGHT, GAP, LANE = 110, 56, 44, 22
LEFT, TOP, LABELS = 12, 12, 190


def name(event: Event) -> str:
    """What the peer sends is called like its message, what this side does in lower case."""
    return event.value if isinstance(event, Local) else event.__name__


def states(table: Table) -> list[State]:
    named = {state for targets in table.values() for state in targets}
    return [state for state in State if state in named]


def edges(table: Table) -> dict[tuple[State, State], list[str]]:
    """The events that lead from one state to another, by the pair of them."""
    found: dict[tuple[State, State], list[str]] = {}
    for event, targets in table.items():
        for source, target in targets.items():
            if source is not target:
                found.setdefault((source, target), []).append(name(event))
    return found


def staying(table: Table, state: State) -> list[str]:
    return [name(event) for event, targets in table.items() if targets.get(state) is state]


# -- the diagram: states in a column, an arrow down to the next, the others around the right -------


def svg(side: Side) -> str:
    table = TABLES[side]
    order = states(table)
    top = {state: TOP + index * (BOX_HEIGHT + GAP) for index, state in enumerate(order)}
    parts = [_box(state, top[state]) for state in order]
    leaving: dict[State, int] = {}
    arriving: dict[State, int] = {}
    lane = 0
    found = edges(table)
    for pair in sorted(found, key=lambda pair: (top[pair[1]] - top[pair[0]], top[pair[0]])):
        source, target = pair
        label = ", ".join(found[pair])
        if order.index(target) == order.index(source) + 1 and target is not State.DONE:
            parts.append(_down(top[source], label))
            continue
        out, into = leaving.get(source, 0), arriving.get(target, 0)
        leaving[source], arriving[target] = out + 1, into + 1
        y_out, y_into = top[source] + 18 + 20 * out, top[target] + BOX_HEIGHT - 8 - 11 * into
        parts.append(_around(y_out, y_into, LABELS + LANE * lane, label))
        lane += 1
    width = LEFT + BOX_WIDTH + LABELS + LANE * lane + 10
    height = TOP * 2 + len(order) * BOX_HEIGHT + (len(order) - 1) * GAP
    return (
        _HEAD.format(width=width, height=height, title=f"States of the {side.value}")
        + "".join(parts)
        + "</svg>\n"
    )


_HEAD = """<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"
  viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">
<title>{title}</title>
<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">
<path d="M0,0 L8,4 L0,8 z" fill="#345"/></marker></defs>
<rect width="100%" height="100%" fill="#fff"/>
"""


def _box(state: State, top: int) -> str:
    size = f'width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6" fill="#eef3f8" stroke="#345"'
    at = f'x="{LEFT + BOX_WIDTH // 2}" y="{top + BOX_HEIGHT // 2 + 4}"'
    return (
        f'<rect x="{LEFT}" y="{top}" {size}/>\n'
        f'<text {at} text-anchor="middle" font-weight="bold">{state.value}</text>\n'
    )


def _line(path: str) -> str:
    return f'<path d="{path}" fill="none" stroke="#345" marker-end="url(#tip)"/>\n'


def _down(top: int, label: str) -> str:
    x, start = LEFT + BOX_WIDTH // 2, top + BOX_HEIGHT
    text = f'<text x="{x + 6}" y="{start + GAP // 2 + 4}">{escape(label)}</text>\n'
    return _line(f"M{x},{start} V{start + GAP}") + text


def _around(y_out: int, y_into: int, reach: int, label: str) -> str:
    x = LEFT + BOX_WIDTH
    text = f'<text x="{x + 6}" y="{y_out - 4}">{escape(label)}</text>\n'
    return _line(f"M{x},{y_out} H{x + reach} V{y_into} H{x}") + text


# -- the table -------------------------------------------------------------------------------------


def rst(side: Side) -> str:
    """Per state: what leads on, and what may happen without leading anywhere."""
    table = TABLES[side]
    first = Dialog(side, 0, "context").state
    lines = [
        f".. list-table:: States of the {side.value} (first: ``{first.value}``)",
        "   :header-rows: 1",
        "   :widths: 15 45 40",
        "",
        "   * - state",
        "     - leads on",
        "     - legal, and leads nowhere",
    ]
    for state in states(table):
        on = [(target, names) for (source, target), names in edges(table).items() if source is state]
        texts = [f"{_names(names)} → ``{target.value}``" for target, names in on]
        lines += [f"   * - ``{state.value}``", f"     - {'; '.join(texts) or '–'}"]
        lines += [f"     - {_names(staying(table, state)) or '–'}"]
    return "\n".join(lines) + "\n"


def _names(names: list[str]) -> str:
    return ", ".join(f"``{one}``" if one[0].isupper() else f"*{one}*" for one in names)


def files() -> dict[Path, str]:
    """What should be in each of the generated files."""
    found = {DOCS / f"dialog-{side.value}.svg": svg(side) for side in Side}
    return found | {DOCS / f"dialog-{side.value}.txt": rst(side) for side in Side}


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
