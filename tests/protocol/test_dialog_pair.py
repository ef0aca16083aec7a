"""Two honest dialog machines, under every interleaving that hypothesis finds."""

from __future__ import annotations

from typing import Any

import pytest
from dialog_model import CID, UIDS, End, Pair, boxed
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tractor_core.msg import types as m
from tractor_core.protocol.credit import MAX_WINDOW, POLICIES, Window
from tractor_core.protocol.dialog import IllegalHere, Side, State

WINDOWS = st.builds(
    Window,
    st.one_of(st.integers(1, 4), st.integers(5, 200), st.just(MAX_WINDOW)),
    st.one_of(st.integers(1, 40), st.integers(41, 4000), st.just(MAX_WINDOW)),
)
SIZES = st.one_of(st.integers(0, 8), st.integers(9, 300), st.just(5 * 1024 * 1024))
BOTH = st.booleans()

#: For what ends things: were it as likely as the rest, nothing else would be explored.
SELDOM = st.sampled_from([False] * 9 + [True])


class Interleavings(RuleBasedStateMachine):
    """Local actions of both sides, deliveries and cuts, in any order."""

    @initialize(functype=st.sampled_from(["asyncfunc", "asyncgen", "context"]), further=st.integers(0, 4))
    def begin(self, functype: str, further: int) -> None:
        """From the start, or as many steps on: most of what can go wrong comes late."""
        self.pair = pair = Pair(functype)
        self.ran = False
        if further > 0:
            self.run()
        if further > 1 and functype != "asyncfunc":
            self.started(1)
            if further > 2:
                pair.open(pair.callee, Window(), "block")
            if further > 3:
                pair.settle()

    def end(self, opener: bool) -> End:
        return self.pair.opener if opener else self.pair.callee

    def streaming(self, end: End) -> bool:
        return end.dialog.can_send() and not end.left and not end.cut

    # -- the channel

    @rule(to_opener=BOTH, urgent=BOTH, count=st.integers(1, 6))
    def deliver(self, to_opener: bool, urgent: bool, count: int) -> None:
        end = self.end(to_opener)
        for _ in range(min(count, len(end.queue))):
            self.pair.deliver(end, urgent=urgent)

    @rule(opener=BOTH, really=SELDOM)
    def cut(self, opener: bool, really: bool) -> None:
        end = self.end(opener)
        if really and not end.cut:
            self.pair.sever(end)

    # -- the callee

    @precondition(lambda self: not self.ran)
    @rule()
    def run(self) -> None:
        self.pair.callee.dialog.run()
        self.ran = True

    @precondition(lambda self: self.pair.callee.dialog.state is State.RUNNING)
    @precondition(lambda self: self.pair.functype != "asyncfunc")
    @rule(value=st.integers(0, 99))
    def started(self, value: int) -> None:
        self.pair.post(self.pair.callee, self.pair.callee.dialog.start_value(value))

    @precondition(lambda self: self.ran)
    @rule(value=st.one_of(st.integers(0, 99), st.just(ValueError("boom"))), really=SELDOM)
    def finish(self, value: Any, really: bool) -> None:
        if really:
            self.pair.finish(value)

    @rule(really=SELDOM)
    def callee_cancels_itself(self, really: bool) -> None:
        if really:
            assert self.pair.callee.dialog.cancel(UIDS[Side.CALLEE]) is None

    # -- the opener

    @rule(really=SELDOM)
    def opener_cancels(self, really: bool) -> None:
        if really:
            opener = self.pair.opener
            self.pair.post(opener, opener.dialog.cancel(UIDS[Side.OPENER]))

    @precondition(lambda self: not self.pair.opener.dialog.done)
    @rule(really=SELDOM)
    def opener_fails(self, really: bool) -> None:
        if really:
            opener = self.pair.opener
            self.pair.post(opener, opener.dialog.failed(boxed("the opener's")))

    # -- both

    @rule(opener=BOTH, window=WINDOWS, policy=st.sampled_from(POLICIES))
    def open(self, opener: bool, window: Window, policy: str) -> None:
        end = self.end(opener)
        try:
            self.pair.open(end, window, policy)
        except IllegalHere:
            may = State.RUNNING if opener else State.STARTED
            over = opener and end.dialog.done and end.dialog.started is not None
            assert end.dialog.opened or not (end.dialog.state is may or over)

    @rule(opener=BOTH, size=SIZES, count=st.integers(1, 70))
    def send(self, opener: bool, size: int, count: int) -> None:
        end = self.end(opener)
        for _ in range(count if size < 1024 else min(count, 3)):
            if not self.streaming(end) or not self.pair.send(end, size):
                return

    @rule(opener=BOTH, count=st.integers(1, 40))
    def take(self, opener: bool, count: int) -> None:
        end = self.end(opener)
        inbox = end.dialog.inbox
        for _ in range(min(count, len(inbox.values) if inbox else 0)):
            self.pair.take(end)

    @rule(opener=BOTH)
    def discard_without_a_stream(self, opener: bool) -> None:
        self.pair.take_all(self.end(opener))

    @rule(opener=BOTH, really=SELDOM)
    def leave(self, opener: bool, really: bool) -> None:
        if really and self.end(opener).dialog.opened:
            self.pair.leave(self.end(opener))

    @rule()
    def flow(self) -> None:
        self.pair.check_flow()

    @invariant()
    def consistent(self) -> None:
        if hasattr(self, "pair"):
            self.pair.check()

    def teardown(self) -> None:
        if hasattr(self, "pair"):
            if not self.ran:
                self.run()
            self.pair.check_flow()
            self.pair.check()
            self.pair.check_end()


TestInterleavings = pytest.mark.limit(120)(Interleavings.TestCase)
TestInterleavings.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


# -- single histories that were once wrong, or must be just so ------------------------------------


def streaming_pair(window: Window | None = None, policy: str = "block") -> Pair:
    """Both have opened; the opener has told its own window."""
    pair = Pair("context")
    pair.callee.dialog.run()
    pair.post(pair.callee, pair.callee.dialog.start_value(None))
    pair.open(pair.callee, Window(), "block")
    pair.settle()
    if window is not None:
        pair.open(pair.opener, window, policy)
        pair.settle()
    return pair


def test_a_large_value_goes_though_a_little_is_owed() -> None:
    pair = streaming_pair(Window(64, 1000))
    assert pair.send(pair.callee, 300)
    pair.settle()  # taken; 300 of 1000 bytes are owed, too few for a grant
    assert not pair.opener.queue and pair.send(pair.callee, 800)
    assert not pair.send(pair.callee, 100), "it overdrew: the window is closed until something is taken"


@pytest.mark.parametrize("messages", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_tiny_windows_let_everything_through(messages: int, size: int) -> None:
    pair = streaming_pair(Window(messages, size))
    for number in range(200):
        assert pair.send(pair.callee, number % 150)
        pair.settle()
    assert len(pair.opener.taken) == 200


def test_what_was_taken_before_opening_is_granted_at_opening() -> None:
    pair = streaming_pair()
    for _ in range(31):  # one less than the half window that makes a grant
        assert pair.send(pair.callee, 1)
    pair.settle()
    assert not pair.callee.queue
    pair.open(pair.opener, Window(8, 1000), "block")
    pair.settle()
    assert pair.send(pair.callee, 1)


def test_a_receiver_without_bounds_grants_what_came_before_it_opened() -> None:
    pair = streaming_pair()
    while pair.send(pair.callee, 1):
        pass
    while pair.opener.queue:
        pair.deliver(pair.opener)
    pair.open(pair.opener, Window(4, 1000), "buffer")
    for _ in range(500):
        while pair.callee.queue:
            pair.deliver(pair.callee)
        assert pair.send(pair.callee, 1)
        pair.deliver(pair.opener)
    assert not pair.opener.taken


def test_a_smaller_window_than_what_is_under_way() -> None:
    pair = streaming_pair()
    while pair.send(pair.callee, 1):
        pass
    pair.open(pair.opener, Window(2, 1000), "block")
    pair.deliver(pair.callee)
    window = pair.callee.dialog.send_window
    assert window is not None and window.messages == -62
    while pair.opener.queue:
        pair.deliver(pair.opener)
    for _ in range(62):
        pair.take(pair.opener)
        while pair.callee.queue:
            pair.deliver(pair.callee)
        assert not pair.callee.could_send(1)
    pair.take(pair.opener)
    pair.deliver(pair.callee)
    assert pair.callee.could_send(1)


def test_values_before_the_outcome_can_be_read_after_it() -> None:
    pair = streaming_pair()
    assert pair.send(pair.callee, 1)
    pair.finish("result")
    while pair.opener.queue:
        pair.deliver(pair.opener)
    opener = pair.opener.dialog
    assert opener.done
    assert opener.open_stream(Window(), "block") is None, "nobody is left to be told"
    assert opener.take_value() is not None
    assert opener.credit_due() is None and not opener.can_send() and opener.stop() is None
    with pytest.raises(IllegalHere):
        opener.open_stream(Window(), "block")


def test_a_dialog_that_ended_before_started_has_no_stream() -> None:
    pair = Pair("context")
    pair.callee.dialog.run()
    pair.finish(ValueError("boom"))
    pair.settle()
    with pytest.raises(IllegalHere):
        pair.opener.dialog.open_stream(Window(), "block")


def test_a_task_whose_channel_went_before_its_first_step_can_still_take_it() -> None:
    pair = Pair("context")
    pair.sever(pair.callee)
    pair.callee.dialog.run()
    assert pair.callee.dialog.done


def test_the_openers_failure_ends_its_sending_but_not_the_dialog() -> None:
    pair = streaming_pair(Window())
    opener = pair.opener.dialog
    pair.post(pair.opener, opener.failed(boxed("first")))
    assert not opener.done and not opener.can_send() and opener.stop() is None
    pair.post(pair.opener, opener.failed(boxed("second")))
    pair.post(pair.opener, opener.cancel(UIDS[Side.OPENER]))
    pair.settle()
    error = pair.callee.dialog.peer_error
    assert error is not None and error.error.message == "first"
    assert opener.cancel_acked
    pair.finish(None)
    pair.settle()
    assert isinstance(opener.outcome, m.Error)
    with pytest.raises(IllegalHere):
        opener.failed(boxed("late"))
    assert opener.cancel(UIDS[Side.OPENER]) is None


def test_late_messages_change_nothing() -> None:
    pair = streaming_pair(Window())
    pair.finish(None)
    pair.settle()
    opener, callee = pair.opener.dialog, pair.callee.dialog
    for message in (m.Error(CID, boxed("late")), m.Yield(CID, m.Raw(b"\x01")), m.Cancel(CID, ("x", "y"))):
        assert opener.receive(message) == callee.receive(message) == 0
    assert opener.cut(ConnectionError()) == callee.cut(ConnectionError()) == 0
    assert opener.outcome is not None and opener.cut_error is None


@pytest.mark.parametrize("functype", ["asyncgen", "context"])
def test_only_calls_may_return_without_a_first_value(functype: str) -> None:
    callee = Pair(functype).callee.dialog
    callee.run()
    with pytest.raises(IllegalHere):
        callee.returned(None)


def test_calls_have_no_first_value() -> None:
    callee = Pair("asyncfunc").callee.dialog
    callee.run()
    with pytest.raises(IllegalHere):
        callee.start_value(None)
    callee.returned(None)


@pytest.mark.parametrize(
    ("window", "policy"),
    [(Window(0, 1), "block"), (Window(1, 0), "block"), (Window(-1, 5), "raise"), (Window(), "shrug")],
)
def test_absurd_windows_are_refused_here(window: Window, policy: str) -> None:
    pair = streaming_pair()
    with pytest.raises(ValueError):
        pair.opener.dialog.open_stream(window, policy)
    assert not pair.opener.dialog.opened


@pytest.mark.parametrize("side", Side)
def test_illegal_local_steps_say_what_and_when(side: Side) -> None:
    pair = Pair("context")
    dialog = (pair.opener if side is Side.OPENER else pair.callee).dialog
    with pytest.raises(IllegalHere, match="open is not possible while"):
        dialog.open_stream(Window(), "block")
