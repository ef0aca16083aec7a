"""The dialog machine: one side of one call or context, without I/O.

A dialog opens with ``Start`` and ends, on the callee's word, with exactly one ``Return`` or ``Error``
(a cancelled task ends with an ``Error`` of kind "cancelled"), or by the channel being cut. The tables
below say which event is legal in which state and where it leads; ``docs/`` draws its diagrams from them.

A machine is fed by local calls, which return the message to send, and by :meth:`Dialog.receive`,
which returns whom to wake and may leave messages in ``outbox``.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from tractor_core.msg import types as m

from .credit import POLICIES, Account, ReceiveBuffer, SendWindow, Window


class Side(enum.Enum):
    OPENER = "opener"
    CALLEE = "callee"


class State(enum.Enum):
    STARTING = "starting"  # opener: Start sent
    ACKED = "acked"  # opener: the callee has scheduled it
    SCHEDULED = "scheduled"  # callee: Start received
    RUNNING = "running"  # opener: Started received; callee: the task runs
    STARTED = "started"  # callee: Started sent
    STREAMING = "streaming"  # this side opened its stream
    DONE = "done"

    __hash__ = object.__hash__


class Local(enum.Enum):
    """What this side does."""

    RUN = "run"
    STARTED = "started"
    OPEN = "open"
    SEND = "send"
    STOP = "stop"
    RETURN = "return"
    FAIL = "fail"
    CANCEL = "cancel"
    CUT = "cut"

    __hash__ = object.__hash__


class Wake(enum.IntFlag):
    """Whom the runtime must wake."""

    NOBODY = 0
    STARTED = 1  # who waits for the callee's first value
    STREAM = 2  # who receives: a value, the end, or an error
    CREDIT = 4  # who waits to send
    CANCEL_ACK = 8  # who asked for a cancel
    CANCEL = 16  # the task itself: it shall be cancelled
    DONE = 32  # everybody: there is an outcome


#: Wakes as plain integers: IntFlag arithmetic costs more than the rest of ``receive``.
NOBODY: Final = 0
W_STARTED: Final = int(Wake.STARTED)
W_STREAM: Final = int(Wake.STREAM)
W_CREDIT: Final = int(Wake.CREDIT)
W_CANCEL_ACK: Final = int(Wake.CANCEL_ACK)
W_CANCEL: Final = int(Wake.CANCEL)
W_DONE: Final = int(Wake.DONE)

Event: TypeAlias = "Local | type[m.Message]"
Table: TypeAlias = dict[Event, dict[State, State]]

_S = State

#: Events that leave a state as it is, in each of the states given.
_HERE_CALL = {_S.STARTING: _S.STARTING, _S.ACKED: _S.ACKED}
_HERE_OPEN = {_S.RUNNING: _S.RUNNING, _S.STREAMING: _S.STREAMING}
_HERE_CALLEE = {_S.STARTED: _S.STARTED, _S.STREAMING: _S.STREAMING}

OPENER: Table = {
    m.StartAck: {_S.STARTING: _S.ACKED},
    m.Started: {_S.STARTING: _S.RUNNING, _S.ACKED: _S.RUNNING},
    # After the outcome too: what was streamed before it can still be read.
    Local.OPEN: {_S.RUNNING: _S.STREAMING, _S.DONE: _S.DONE},
    Local.SEND: {_S.STREAMING: _S.STREAMING},
    # Without a stream of its own too: an opener that leaves will never send anything.
    Local.STOP: _HERE_OPEN,
    m.Open: _HERE_OPEN,
    m.Yield: _HERE_OPEN,
    m.Stop: _HERE_OPEN,
    m.Credit: _HERE_OPEN,
    m.CancelAck: {**_HERE_CALL, **_HERE_OPEN},
    Local.CANCEL: {**_HERE_CALL, **_HERE_OPEN},
    Local.FAIL: {**_HERE_CALL, **_HERE_OPEN},
    m.Return: {s: _S.DONE for s in (_S.STARTING, _S.ACKED, _S.RUNNING, _S.STREAMING)},
    m.Error: {s: _S.DONE for s in (_S.STARTING, _S.ACKED, _S.RUNNING, _S.STREAMING)},
    Local.CUT: {s: _S.DONE for s in (_S.STARTING, _S.ACKED, _S.RUNNING, _S.STREAMING, _S.DONE)},
}

CALLEE: Table = {
    # Over before its first step, where the channel was cut in between: the task still runs, cancelled.
    Local.RUN: {_S.SCHEDULED: _S.RUNNING, _S.DONE: _S.DONE},
    Local.STARTED: {_S.RUNNING: _S.STARTED},
    Local.OPEN: {_S.STARTED: _S.STREAMING},
    Local.SEND: {_S.STREAMING: _S.STREAMING},
    Local.STOP: {_S.STREAMING: _S.STREAMING},
    m.Open: _HERE_CALLEE,
    m.Yield: _HERE_CALLEE,
    m.Stop: _HERE_CALLEE,
    m.Credit: _HERE_CALLEE,
    m.Cancel: {_S.SCHEDULED: _S.SCHEDULED, _S.RUNNING: _S.RUNNING, **_HERE_CALLEE},
    m.Error: {_S.SCHEDULED: _S.SCHEDULED, _S.RUNNING: _S.RUNNING, **_HERE_CALLEE},
    Local.CANCEL: {_S.SCHEDULED: _S.SCHEDULED, _S.RUNNING: _S.RUNNING, **_HERE_CALLEE},
    Local.RETURN: {s: _S.DONE for s in (_S.RUNNING, _S.STARTED, _S.STREAMING)},
    Local.FAIL: {s: _S.DONE for s in (_S.SCHEDULED, _S.RUNNING, _S.STARTED, _S.STREAMING)},
    Local.CUT: {s: _S.DONE for s in (_S.SCHEDULED, _S.RUNNING, _S.STARTED, _S.STREAMING, _S.DONE)},
}

# By names of their own: Python 3.11 looks members of an enumeration up by running a function.
_OPENER: Final = Side.OPENER
_STARTING: Final = State.STARTING
_SCHEDULED: Final = State.SCHEDULED
_RUNNING: Final = State.RUNNING
STREAMING: Final = State.STREAMING
DONE: Final = State.DONE
_RUN: Final = Local.RUN
_RETURN: Final = Local.RETURN


class ProtocolViolation(Exception):
    """The peer sent what is not legal in this state; the dialog ends with an error."""


class IllegalHere(Exception):
    """This side's own code did what is not legal in this state."""


class Dialog:
    """One side of a dialog. Not thread-safe; owned by one call or context.

    ``account`` is the channel's, for what its stream holds.
    """

    # What most dialogs never change is the class's: most are calls, and setting it in each of them would
    # double what making one costs (0.7 us instead of 0.35 us).

    #: The callee's last word; None while it has not come or when the channel was cut before it.
    outcome: m.Return | m.Error | None = None
    #: Why the channel ended, where that came before an outcome.
    cut_error: BaseException | None = None
    #: The ``Started`` message, at the opener.
    started: m.Started | None = None
    cancel_called = False
    cancel_acked = False
    #: Who asked for the cancel this side has seen.
    canceller: tuple[str, str] | None = None
    #: Callee: the opener's side failed (an ``Error`` from it).
    peer_error: m.Error | None = None
    #: This side, and the peer, ended their sending half.
    stopped = False
    peer_stopped = False
    #: This side opened its half of the stream.
    opened = False
    send_window: SendWindow | None = None
    inbox: ReceiveBuffer | None = None

    def __init__(self, side: Side, cid: int, functype: str, account: Account | None = None) -> None:
        self._account = account
        self.side = side
        self.cid = cid
        self.functype = functype
        if side is _OPENER:
            self._table, self.state = OPENER, _STARTING
        else:
            self._table, self.state = CALLEE, _SCHEDULED
        #: Messages that ``receive`` wants sent.
        self.outbox: list[m.Message] = []

    @property
    def done(self) -> bool:
        return self.state is DONE

    # -- what this side does ------------------------------------------------------------------

    def _move(self, event: Event) -> None:
        try:
            self.state = self._table[event][self.state]
        except KeyError:
            name = event.value if isinstance(event, Local) else event.__name__
            raise IllegalHere(f"{name} is not possible while {self.state.value}") from None

    def run(self) -> None:
        """Callee: the task starts."""
        self._move(_RUN)

    def start_value(self, value: Any) -> m.Started:
        """Callee: the first value, once. A call has none."""
        if self.functype == "asyncfunc":
            raise IllegalHere("a call has no first value")
        self._move(Local.STARTED)
        return m.Started(self.cid, value)

    def open_stream(self, window: Window, policy: str) -> m.Open | None:
        """Open this side's half; may be done once. None where nobody is left to be told.

        May leave a grant in ``outbox``, to be sent like the ``Open`` itself: for what came before it.
        ``ValueError`` for a window under which nothing could be sent, or an unknown policy.
        """
        if not window.valid or policy not in POLICIES:
            raise ValueError(f"not a window and a policy: {window}, {policy!r}")
        if self.opened:
            raise IllegalHere("a stream is opened once")
        if self.state is DONE and self.started is None:
            raise IllegalHere("the dialog ended before it could have a stream")
        self._move(Local.OPEN)
        self.opened = True
        self.receiving().open(window, unbounded=policy == "buffer")
        if self.state is DONE:
            return None
        credit = self.credit_due()
        if credit is not None:
            self.outbox.append(credit)
        return m.Open(self.cid, window.messages, window.size, policy)

    def can_send(self) -> bool:
        """Whether a value may be sent now, credit aside."""
        return self.state is STREAMING and not self.stopped

    def take_credit(self, size: int) -> bool:
        """Use credit for a payload of ``size`` bytes; False where there is none now."""
        return self.sending().take(size)

    def stop(self) -> m.Stop | None:
        """End this side's sending half; None when it has ended already or the dialog has."""
        if self.stopped or self.state not in self._table[Local.STOP]:
            return None
        self.stopped = True
        return m.Stop(self.cid)

    def take_value(self) -> Any:
        """The oldest undelivered payload; ``IndexError`` when there is none."""
        return self.receiving().take()

    def credit_due(self) -> m.Credit | None:
        """The grant to send now, if one is due and somebody could use it."""
        if self.state is DONE or self.peer_stopped or self.inbox is None:
            return None
        return self.inbox.credit(self.cid)

    def returned(self, value: Any) -> m.Return:
        """Callee: the final result."""
        if self.functype != "asyncfunc" and self.state is _RUNNING:
            raise IllegalHere("returned without calling started()")
        self._move(_RETURN)
        outcome = self.outcome = m.Return(self.cid, value)
        return outcome

    def failed(self, error: m.BoxedError) -> m.Error:
        """This side ended with an error. At the callee that is the outcome; the opener still waits for it."""
        self._move(Local.FAIL)
        message = m.Error(self.cid, error)
        if self.side is Side.CALLEE:
            self.outcome = message
        else:
            self.stopped = True
        return message

    def cancel(
        self, by: tuple[str, str], reason: str = "", time_left: float | None = None
    ) -> m.Cancel | None:
        """Ask for this dialog's end. Returns what to send (opener), None at the callee or if it is over."""
        if self.state is DONE:
            return None
        self._move(Local.CANCEL)
        self.cancel_called = True
        self.canceller = self.canceller or by
        if self.side is Side.CALLEE:
            return None
        return m.Cancel(self.cid, by, reason, time_left)

    def cut(self, error: BaseException) -> int:
        """The channel is gone; returns whom to wake."""
        if self.state is DONE:
            return NOBODY
        self._move(Local.CUT)
        self.cut_error = error
        if self.side is Side.CALLEE:
            return W_CANCEL | W_DONE | W_STREAM | W_CREDIT
        return W_STARTED | W_STREAM | W_CREDIT | W_CANCEL_ACK | W_DONE

    def release(self) -> None:
        """Drop what has arrived for the stream: nobody will read it."""
        if self.inbox is not None:
            self.inbox.release()

    # -- what the peer does -------------------------------------------------------------------

    def receive(self, message: Any) -> int:
        """Take one message from the peer; returns whom to wake (``Wake`` bits).

        Raises :class:`ProtocolViolation` where the message, or what it says, is illegal here; the
        dialog must then be ended (:meth:`cut`). ``OverBudget`` where the channel's streams hold too much
        already; then this side has failed. Late messages for a finished dialog are ignored.
        """
        state = self.state
        if state is DONE:
            return NOBODY
        kind = type(message)
        if kind is m.Yield and state is STREAMING:
            # What the tables say of it on either side, without asking them: 0.1 us of the 2 of a value.
            return self._on_yield(message)
        targets = self._table.get(kind)
        target = targets.get(state) if targets is not None else None
        if target is None:
            raise ProtocolViolation(f"{kind.__name__} while {self.state.value}")
        wake = _HANDLERS[kind](self, message)
        self.state = target
        return wake

    def receiving(self) -> ReceiveBuffer:
        """What has arrived here and is owed for: one object from the first use on."""
        inbox = self.inbox
        if inbox is None:
            inbox = self.inbox = ReceiveBuffer(account=self._account)
        return inbox

    def sending(self) -> SendWindow:
        """This side's account of what it may send: one object from the first use on."""
        window = self.send_window
        if window is None:
            window = self.send_window = SendWindow()
        return window

    def _on_start_ack(self, message: m.StartAck) -> int:
        if message.functype != self.functype:
            raise ProtocolViolation("StartAck of another kind than was asked for")
        return NOBODY

    def _on_started(self, message: m.Started) -> int:
        if self.functype == "asyncfunc":
            raise ProtocolViolation("Started in a call")
        self.started = message
        return W_STARTED

    def _on_yield(self, message: m.Yield) -> int:
        if self.peer_stopped:
            raise ProtocolViolation("Yield after Stop")
        inbox = self.inbox or self.receiving()
        if not inbox.put(message.pld):
            raise ProtocolViolation("more stream values than were granted")
        if inbox.due:
            credit = inbox.credit(self.cid)
            if credit is not None:
                self.outbox.append(credit)
        # Nobody waits where there are values already: who was woken for the first finds all of them.
        return W_STREAM if len(inbox.values) == 1 else NOBODY

    def _on_stop(self, message: m.Stop) -> int:
        if self.peer_stopped:
            raise ProtocolViolation("Stop after Stop")
        self.peer_stopped = True
        return W_STREAM

    def _on_open(self, message: m.Open) -> int:
        sending = self.sending()
        if sending.policy is not None:
            raise ProtocolViolation("Open after Open")
        window = Window(message.messages, message.size)
        if not window.valid or message.policy not in POLICIES:
            raise ProtocolViolation("Open with a window or policy that there is not")
        sending.open(window, message.policy)
        return W_CREDIT

    def _on_credit(self, message: m.Credit) -> int:
        if not self.sending().grant(message.messages, message.size):
            raise ProtocolViolation("Credit for what was not sent")
        return W_CREDIT

    def _on_cancel(self, message: m.Cancel) -> int:
        if message.runtime:
            raise ProtocolViolation("Cancel of the runtime under the id of a dialog")
        self.outbox.append(m.CancelAck(self.cid, True))
        self.cancel_acked = True
        self.canceller = self.canceller or message.canceller
        return W_CANCEL | W_STREAM | W_CREDIT

    def _on_cancel_ack(self, message: m.CancelAck) -> int:
        if not self.cancel_called:
            raise ProtocolViolation("CancelAck without a Cancel")
        self.cancel_acked = self.cancel_acked or message.ok
        return W_CANCEL_ACK

    def _on_return(self, message: m.Return) -> int:
        if self.functype != "asyncfunc" and self.started is None:
            raise ProtocolViolation("Return before Started")
        self.outcome = message
        return W_DONE | W_STREAM | W_CREDIT | W_CANCEL_ACK | W_STARTED

    def _on_error(self, message: m.Error) -> int:
        if self.side is Side.CALLEE:
            self.peer_error = self.peer_error or message
            return W_CANCEL | W_STREAM | W_CREDIT
        self.outcome = message
        return W_DONE | W_STREAM | W_CREDIT | W_CANCEL_ACK | W_STARTED


_HANDLERS: dict[type[m.Message], Callable[[Dialog, Any], int]] = {
    m.StartAck: Dialog._on_start_ack,
    m.Started: Dialog._on_started,
    m.Yield: Dialog._on_yield,
    m.Stop: Dialog._on_stop,
    m.Open: Dialog._on_open,
    m.Credit: Dialog._on_credit,
    m.Cancel: Dialog._on_cancel,
    m.CancelAck: Dialog._on_cancel_ack,
    m.Return: Dialog._on_return,
    m.Error: Dialog._on_error,
}
