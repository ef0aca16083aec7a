"""The table of types in the documentation says what arrives."""

from __future__ import annotations

import datetime
import math

import pytest
from tools import title
from types_table import IMPOSSIBLE, NOT_SENT, ROWS, SAME, TABLE, cells, same, table

#: What is not as sent where it is annotated: all else must be, over both codecs.
NOT_AS_SENT = {
    "float",  # JSON has no infinity
    "int",  # of more than 64 bits
    "str",  # with a lone surrogate
    "Text",
    "deque[int]",
    "range",
    "dict[tuple[int, int], str]",
    "str | UUID",
    "PurePosixPath",
    "complex",
    "ValueError",
    "Callable[..., int]",
    "Plain (any class)",
    "numpy.float64",
    "Iterable[int]",  # it does, but is not checked
    "Private (attrs with a field _note)",
    "Initial (dataclass with an InitVar)",
    "Price (Enum of floats)",
    "Planet (Enum of tuples)",
    "Mixed (Enum of str and int)",
    "Literal[Colour.RED]",
    "IPv4Address",
}

#: What is refused for its annotation only.
SENT_UNANNOTATED = {"Private (attrs with a field _note)"}


def test_the_table_is_up_to_date() -> None:
    assert TABLE.read_text(encoding="utf-8") == table(), "run: python tests/msg/types_table.py"


@pytest.mark.parametrize(("label", "kind", "value"), ROWS, ids=lambda item: title(item)[:30])
def test_what_is_annotated_arrives_as_sent(label: str, kind: object, value: object) -> None:
    annotated, unannotated, contract = cells(kind, value)
    if label not in NOT_AS_SENT:
        assert annotated == contract == SAME
    if annotated == NOT_SENT:
        assert (unannotated == NOT_SENT) is (label not in SENT_UNANNOTATED)
        assert contract in (NOT_SENT, IMPOSSIBLE)


def test_only_what_is_alike_is_the_same() -> None:
    assert same(math.nan, math.nan) and same({1}, {1})
    assert not same(1, True) and not same([1], (1,)) and not same(1, 2)
    assert not same(datetime.datetime(2024, 1, 1), datetime.date(2024, 1, 1))
