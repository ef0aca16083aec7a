"""The transition tables: whole, without dead ends, and as the documentation shows them."""

from __future__ import annotations

from pathlib import Path

import pytest
from dialog_diagrams import files
from msgspec import Raw

from tractor_core.msg import types as m
from tractor_core.protocol import dialog as d
from tractor_core.protocol.credit import Window
from tractor_core.protocol.dialog import CALLEE, OPENER, Dialog, IllegalHere, Local, Side, State, Table

BOTH = pytest.mark.parametrize(("side", "table"), [(Side.OPENER, OPENER), (Side.CALLEE, CALLEE)])


def first_state(side: Side) -> State:
    return Dialog(side, 0, "context").state


def reachable(table: Table, start: State) -> set[State]:
    found, todo = {start}, [start]
    while todo:
        state = todo.pop()
        for targets in table.values():
            target = targets.get(state, state)
            if target not in found:
                found.add(target)
                todo.append(target)
    return found


@BOTH
def test_every_state_can_be_reached_and_can_end(side: Side, table: Table) -> None:
    named = {state for targets in table.values() for state in (*targets, *targets.values())}
    assert reachable(table, first_state(side)) == named
    for state in named:
        assert State.DONE in reachable(table, state)
        assert Local.CUT in table and table[Local.CUT][state] is State.DONE


def test_every_state_and_local_event_is_used() -> None:
    tables = (OPENER, CALLEE)
    assert {state for table in tables for targets in table.values() for state in targets} == set(State)
    assert {event for table in tables for event in table if isinstance(event, Local)} == set(Local)


@BOTH
def test_the_end_is_for_good(side: Side, table: Table) -> None:
    for targets in table.values():
        assert targets.get(State.DONE, State.DONE) is State.DONE


@BOTH
def test_every_message_in_a_table_has_a_handler(side: Side, table: Table) -> None:
    messages = {event for event in table if not isinstance(event, Local)}
    assert messages <= set(d._HANDLERS)


def test_values_that_arrive_together_wake_once() -> None:
    dialog = Dialog(Side.CALLEE, 4, "context")
    dialog.run()
    dialog.start_value(None)
    dialog.open_stream(Window(4), "block")
    yields = m.Yield(4, Raw(b"1"))
    assert [dialog.receive(yields) for _ in range(3)] == [d.W_STREAM, d.NOBODY, d.NOBODY]
    inbox = dialog.receiving()
    assert [(bytes(dialog.take_value()), inbox.due) for _ in range(3)] == [
        (b"1", False),
        (b"1", True),
        (b"1", True),
    ]
    assert dialog.credit_due() == m.Credit(4, 3, 3)
    assert (inbox.due, dialog.credit_due()) == (False, None)
    assert dialog.receive(yields) == d.W_STREAM


def test_every_handler_is_in_a_table() -> None:
    assert {event for event in (*OPENER, *CALLEE) if not isinstance(event, Local)} == set(d._HANDLERS)


def test_what_one_side_may_send_the_other_may_get() -> None:
    """Each dialog message but Start goes one way, or both."""
    to_opener = {event for event in OPENER if not isinstance(event, Local)}
    to_callee = {event for event in CALLEE if not isinstance(event, Local)}
    assert to_opener & to_callee == {m.Open, m.Yield, m.Stop, m.Credit, m.Error}
    assert to_opener - to_callee == {m.StartAck, m.Started, m.Return, m.CancelAck}
    assert to_callee - to_opener == {m.Cancel}


@BOTH
def test_sending_is_possible_where_the_table_says(side: Side, table: Table) -> None:
    dialog = Dialog(side, 0, "context")
    for state in reachable(table, dialog.state):
        dialog.state = state
        assert dialog.can_send() is (state in table[Local.SEND])
        dialog.stopped = False
        assert (dialog.stop() is not None) is (state in table[Local.STOP])
        dialog.stopped = False


@pytest.mark.parametrize("side", Side)
def test_the_other_sides_steps_are_illegal(side: Side) -> None:
    dialog = Dialog(side, 0, "context")
    if side is Side.CALLEE:
        with pytest.raises(d.ProtocolViolation):
            dialog.receive(m.Started(0, m.Raw(b"\xc0")))
        return
    for step in (dialog.run, lambda: dialog.start_value(1)):
        with pytest.raises(IllegalHere):
            step()


@pytest.mark.parametrize("path", sorted(files()), ids=lambda path: path.name)
def test_the_documentation_shows_these_tables(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == files()[path], "run tests/protocol/dialog_diagrams.py"
