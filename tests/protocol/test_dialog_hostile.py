"""A dialog machine and a peer that sends anything at any time."""

from __future__ import annotations

import pytest
from dialog_model import CID, Pair, boxed
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import Raw

from tractor_core.msg import types as m
from tractor_core.protocol.credit import DEFAULT_WINDOW, MAX_WINDOW, Window
from tractor_core.protocol.dialog import CALLEE, OPENER, Dialog, ProtocolViolation, Side, State

ABSURD = st.one_of(
    st.integers(-2, 2), st.sampled_from([64, 65, MAX_WINDOW, MAX_WINDOW + 1, 2**64 - 1, -(2**63), 10**400])
)
RAWS = st.builds(Raw, st.sampled_from([b"\xc0", b"\x01", b"\xc1", b"\xa3abc", b"\xa1\xff", b"x" * 9_000_000]))
TEXTS = st.sampled_from(["", "context", "asyncfunc", "block", "buffer", "raise", "drop_oldest", "\0\ud800"])
PAIRS = st.tuples(TEXTS, TEXTS)

CIDS = st.just(CID)
MESSAGES: st.SearchStrategy[m.Message] = st.one_of(
    st.builds(m.Hello, st.just(m.Aid("x", "y")), TEXTS, st.just([]), st.just(b"")),
    st.builds(m.Auth, TEXTS, st.just(b"")),
    st.builds(m.SpawnSpec, RAWS),
    st.builds(m.Ready, st.just([])),
    st.builds(m.Start, CIDS, TEXTS, TEXTS, RAWS, RAWS),
    st.builds(m.StartAck, CIDS, TEXTS),
    st.builds(m.Started, CIDS, RAWS),
    st.builds(m.Yield, CIDS, RAWS),
    st.builds(m.Return, CIDS, RAWS),
    st.builds(m.Stop, CIDS),
    st.builds(m.Error, CIDS, st.just(boxed("hostile"))),
    st.builds(m.Cancel, CIDS, PAIRS, TEXTS, st.sampled_from([None, 0.0, -1.0, float("nan")]), st.booleans()),
    st.builds(m.CancelAck, CIDS, st.booleans()),
    st.builds(m.Credit, CIDS, ABSURD, ABSURD),
    st.builds(m.Open, CIDS, ABSURD, ABSURD, TEXTS),
    st.builds(m.Chunk, CIDS, st.booleans(), st.just(memoryview(b""))),
    st.builds(m.Ping, ABSURD),
    st.builds(m.Pong, ABSURD),
)


def reached(side: Side, functype: str, steps: int) -> Dialog:
    """A machine after so many steps of an ordinary history, up to its end and beyond."""
    pair = Pair(functype)
    end = pair.opener if side is Side.OPENER else pair.callee
    streams = functype != "asyncfunc"

    history = [
        pair.callee.dialog.run,
        pair.settle,
        lambda: streams and pair.post(pair.callee, pair.callee.dialog.start_value(1)),
        pair.settle,
        lambda: streams and pair.open(pair.callee, Window(3, 100), "block"),
        lambda: (
            streams and pair.open(pair.opener, Window(3, 100), "buffer")
            if pair.opener.dialog.started
            else None
        ),
        pair.settle,
        lambda: streams and pair.send(pair.callee, 10) and pair.send(pair.opener, 10),
        lambda: pair.post(pair.opener, pair.opener.dialog.cancel(("x", "y"))),
        pair.settle,
        lambda: streams and pair.post(pair.callee, pair.callee.dialog.stop()),
        pair.settle,
        lambda: pair.finish(None),
        pair.settle,
    ]
    for step in history[:steps]:
        step()
    return end.dialog


@given(
    side=st.sampled_from(Side),
    functype=st.sampled_from(["asyncfunc", "asyncgen", "context"]),
    steps=st.integers(0, 14),
    messages=st.lists(MESSAGES, min_size=1, max_size=12),
)
@example(Side.OPENER, "asyncgen", 6, [m.Yield(CID, Raw(b"x" * 9_000_000))] * 2)
def test_any_message_at_any_time(side: Side, functype: str, steps: int, messages: list[m.Message]) -> None:
    dialog = reached(side, functype, steps)
    for message in messages:
        before = dialog.state
        try:
            wake = dialog.receive(message)
        except ProtocolViolation as violation:
            assert before is not State.DONE and str(violation)
            dialog.cut(violation)
            continue
        if before is State.DONE:
            assert wake == 0
        else:
            table = (OPENER if side is Side.OPENER else CALLEE)[type(message)]
            assert dialog.state is table[before]
        if (inbox := dialog.inbox) is not None and not inbox._unbounded:
            # Where it is, under the policy "buffer", the account of the channel is what bounds it.
            assert len(inbox.values) <= DEFAULT_WINDOW.messages
            assert sum(size for _, size in inbox.values) <= DEFAULT_WINDOW.size + 9_000_000
    dialog.cut(ConnectionError())
    assert dialog.done


def opener(functype: str = "context", started: bool = True) -> Dialog:
    dialog = Dialog(Side.OPENER, CID, functype)
    if started:
        dialog.receive(m.Started(CID, Raw(b"\xc0")))
    return dialog


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (m.Open(CID, 1, 1, "block"), m.Open(CID, 1, 1, "block")),
        (m.Stop(CID), m.Stop(CID)),
        (m.Stop(CID), m.Yield(CID, Raw(b"\xc0"))),
        (m.Stop(CID), m.Started(CID, Raw(b"\xc0"))),
        (m.Stop(CID), m.StartAck(CID, "context")),
    ],
    ids=["open-open", "stop-stop", "stop-yield", "started-started", "started-startack"],
)
def test_what_comes_once_comes_once(first: m.Message, second: m.Message) -> None:
    dialog = opener()
    dialog.receive(first)
    with pytest.raises(ProtocolViolation):
        dialog.receive(second)


@pytest.mark.parametrize(
    "message",
    [
        m.Credit(CID, 1, 0),
        m.Credit(CID, 0, 1),
        m.Credit(CID, -1, 0),
        m.Credit(CID, 0, -1),
        m.Credit(CID, 10**400, 10**400),
        m.Open(CID, 0, 1, "block"),
        m.Open(CID, 1, 0, "block"),
        m.Open(CID, MAX_WINDOW + 1, 1, "block"),
        m.Open(CID, 1, 1, "shrug"),
        m.CancelAck(CID, True),
        m.Cancel(CID, ("x", "y")),
    ],
    ids=lambda message: repr(message)[:40],
)
def test_what_no_honest_callee_sends(message: m.Message) -> None:
    with pytest.raises(ProtocolViolation):
        opener().receive(message)


@pytest.mark.parametrize("functype", ["asyncgen", "context"])
def test_a_return_without_a_first_value(functype: str) -> None:
    with pytest.raises(ProtocolViolation, match="before Started"):
        opener(functype, started=False).receive(m.Return(CID, Raw(b"\xc0")))


def test_a_first_value_in_a_call() -> None:
    with pytest.raises(ProtocolViolation):
        opener("asyncfunc")


def test_another_kind_than_was_asked_for() -> None:
    with pytest.raises(ProtocolViolation):
        opener(started=False).receive(m.StartAck(CID, "asyncgen"))


def test_a_runtime_cancel_under_the_id_of_a_dialog() -> None:
    with pytest.raises(ProtocolViolation):
        Dialog(Side.CALLEE, CID, "asyncfunc").receive(m.Cancel(CID, ("x", "y"), runtime=True))


@pytest.mark.parametrize("policy", ["raise", "block"])
def test_more_values_than_granted(policy: str) -> None:
    dialog = opener()
    dialog.open_stream(Window(100, 1000), policy)
    for _ in range(100):
        dialog.receive(m.Yield(CID, Raw(b"\xc0")))
    with pytest.raises(ProtocolViolation, match="granted"):
        dialog.receive(m.Yield(CID, Raw(b"\xc0")))


def test_without_bounds_grants_go_out_as_values_come_in() -> None:
    dialog = opener()
    dialog.open_stream(Window(100, 1000), "buffer")
    for _ in range(1000):
        dialog.receive(m.Yield(CID, Raw(b"\xc0")))
    assert dialog.outbox == [m.Credit(CID, 50, 50)] * 20


def test_more_bytes_than_granted() -> None:
    dialog = opener()
    half = Raw(b"\xc0" * (DEFAULT_WINDOW.size // 2))
    dialog.receive(m.Yield(CID, half))
    dialog.receive(m.Yield(CID, half))
    with pytest.raises(ProtocolViolation, match="granted"):
        dialog.receive(m.Yield(CID, Raw(b"\xc0")))


def test_one_value_of_any_size_is_granted_to_an_empty_window() -> None:
    dialog = opener()
    dialog.receive(m.Yield(CID, Raw(b"\xc0" * (DEFAULT_WINDOW.size * 2))))
    with pytest.raises(ProtocolViolation, match="granted"):
        dialog.receive(m.Yield(CID, Raw(b"\xc0")))
