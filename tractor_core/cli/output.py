"""Text for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

#: A column: its title, and the key of its values in a row.
Column = tuple[str, str]

# Piped output has no width of its own; a table folded to 80 columns could not be searched.
_PIPED_WIDTH = 10_000


def print_json(value: object) -> None:
    """One JSON document."""
    print(json.dumps(value, indent=2))


def print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> None:
    """Rows under titles; lists one item a line."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title, _ in columns:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*(escape(_text(row[key])) for _, key in columns))
    _console().print(table)


def print_fields(fields: Mapping[str, Any]) -> None:
    """Names and values, one below the other."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in fields.items():
        table.add_row(escape(name.replace("_", " ")), escape(_text(value)))
    _console().print(table)


def print_notes(lines: Iterable[str]) -> None:
    """Explanations below a table."""
    for line in lines:
        _console().print(escape(line), soft_wrap=True)


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=_PIPED_WIDTH)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return "\n".join(map(_text, value)) or "-"
    return str(value)
