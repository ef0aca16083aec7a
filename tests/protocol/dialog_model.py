"""Two dialog machines joined by queues, and what must hold between them whatever happens.

``Pair`` does what the runtime does around the machines (deliver, answer, grant, discard) and checks
after each step that whoever could go on was woken. It knows nothing of what the machines do inside.
"""

from __future__ import annotations

import copy
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from msgspec import Raw

from tractor_core.msg import types as m
from tractor_core.msg.codec import wire_codec
from tractor_core.protocol import dialog as d
from tractor_core.protocol.credit import DEFAULT_WINDOW, Window
from tractor_core.protocol.dialog import Dialog, Side, State

CID = 4
CODEC = wire_codec("msgpack")
UIDS = {Side.OPENER: ("opener", "1" * 32), Side.CALLEE: ("callee", "2" * 32)}

#: Messages that may overtake others of their dialog on a channel.
URGENT = (m.Cancel, m.CancelAck, m.Credit)


def payload(number: int, size: int) -> Raw:
    """The ``number``-th payload, of about ``size`` bytes, like nothing else that is sent."""
    return Raw(CODEC.encode_payload([number, b"x" * size]))


def boxed(message: str, canceller: tuple[str, str] | None = None) -> m.BoxedError:
    kind = "cancelled" if canceller else ""
    return m.BoxedError("builtins:ValueError", message, "builtins:ValueError", kind=kind, canceller=canceller)


def through(message: m.Message) -> m.Message:
    """What arrives of a message."""
    return CODEC.decode(CODEC.encode(message))


@dataclass
class End:
    """One side: its machine and what the model remembers of it."""

    side: Side
    dialog: Dialog
    #: What the peer sent and was not delivered here yet.
    queue: deque[m.Message] = field(default_factory=deque)
    sent: list[bytes] = field(default_factory=list)
    taken: list[bytes] = field(default_factory=list)
    #: Bytes of the value that somebody here waits to send, without credit for it.
    wants: int | None = None
    cut: bool = False
    left: bool = False
    answered: Any = None

    def could_send(self, size: int) -> bool:
        window = self.dialog.send_window
        return window is None or copy.copy(window).take(size)

    def conditions(self) -> dict[str, tuple[bool, int]]:
        """For everybody who may wait here: whether he may go on, and the bits that wake him."""
        dialog = self.dialog
        done = dialog.done
        stream = bool(dialog.inbox and dialog.inbox.values) or dialog.peer_stopped or done
        found = {
            "stream": (stream or dialog.peer_error is not None, d.W_STREAM),
            "credit": (done or (self.wants is not None and self.could_send(self.wants)), d.W_CREDIT),
        }
        if self.side is Side.OPENER:
            found["started"] = (dialog.started is not None or done, d.W_STARTED | d.W_DONE)
            found["outcome"] = (done, d.W_DONE)
            found["ack"] = (dialog.cancel_acked or done, d.W_CANCEL_ACK | d.W_DONE)
        else:
            over = dialog.cancel_acked or dialog.peer_error is not None or dialog.cut_error is not None
            found["task"] = (over, d.W_CANCEL)
        return found


class Pair:
    """An opener and a callee, ``Start`` having arrived."""

    def __init__(self, functype: str) -> None:
        self.functype = functype
        self.opener = End(Side.OPENER, Dialog(Side.OPENER, CID, functype))
        self.callee = End(Side.CALLEE, Dialog(Side.CALLEE, CID, functype))
        self.numbers = iter(range(1 << 30))
        #: The outcome that the callee decided on.
        self.verdict: m.Return | m.Error | None = None
        if functype != "asyncfunc":
            self.post(self.callee, m.StartAck(CID, functype))

    def other(self, end: End) -> End:
        return self.callee if end is self.opener else self.opener

    # -- the channel --------------------------------------------------------------------------

    def post(self, end: End, message: m.Message | None) -> None:
        if message is not None and not end.cut:
            self.other(end).queue.append(message)

    def deliver(self, end: End, *, urgent: bool = False) -> None:
        """The next message arrives; ``urgent`` lets the first urgent one overtake those before it."""
        index = 0
        if urgent:
            index = next((i for i, message in enumerate(end.queue) if isinstance(message, URGENT)), 0)
        message = end.queue[index]
        del end.queue[index]
        if end.cut:
            return
        if end.dialog.done and isinstance(message, m.Cancel):
            # The dispatcher's answer for a dialog that is over.
            self.post(end, m.CancelAck(CID, True))
        before = end.conditions()
        wake = end.dialog.receive(through(message))
        self.check_woken(end, before, wake, message)
        self.flush(end)
        if end.left:
            self.take_all(end)

    def flush(self, end: End) -> None:
        for answer in end.dialog.outbox:
            self.post(end, answer)
        end.dialog.outbox.clear()

    @staticmethod
    def check_woken(end: End, before: dict[str, tuple[bool, int]], wake: int, cause: object) -> None:
        for who, (ready, bits) in end.conditions().items():
            if ready and not before[who][0]:
                assert wake & bits, f"{end.side.value}: {who} was not woken by {cause}"

    def sever(self, end: End) -> None:
        """The channel's end is noticed on one side; what was under way to it is lost."""
        before = end.conditions()
        wake = end.dialog.cut(ConnectionError("cut"))
        self.check_woken(end, before, wake, "the cut")
        end.cut = True
        end.queue.clear()

    # -- what tasks do ------------------------------------------------------------------------

    def open(self, end: End, window: Window, policy: str) -> None:
        self.post(end, end.dialog.open_stream(window, policy))
        self.flush(end)

    def send(self, end: End, size: int) -> bool:
        """Send a value if there is credit, else remember that somebody waits for some."""
        value = payload(next(self.numbers), size)
        size = len(memoryview(value))
        if not end.dialog.take_credit(size):
            end.wants = size
            return False
        end.wants = None
        end.sent.append(bytes(value))
        self.post(end, m.Yield(CID, value))
        return True

    def take(self, end: End) -> None:
        end.taken.append(bytes(end.dialog.take_value()))
        self.post(end, end.dialog.credit_due())

    def take_all(self, end: End) -> None:
        while end.dialog.inbox is not None and end.dialog.inbox.values:
            self.take(end)

    def leave(self, end: End) -> None:
        """Close the stream: end the sending half, discard what comes."""
        self.post(end, end.dialog.stop())
        end.left = True
        end.wants = None
        self.take_all(end)

    def finish(self, value: Any) -> None:
        """The callee's task ends as its circumstances say."""
        dialog = self.callee.dialog
        if dialog.done:
            return
        if dialog.peer_error is not None:
            message: m.Return | m.Error = dialog.failed(dialog.peer_error.error)
        elif dialog.cancel_acked or dialog.cancel_called:
            message = dialog.failed(boxed("cancelled", dialog.canceller))
        elif isinstance(value, Exception) or (self.functype != "asyncfunc" and dialog.state is State.RUNNING):
            message = dialog.failed(boxed(str(value)))
        else:
            message = dialog.returned(value)
        self.verdict = message
        self.post(self.callee, message)

    # -- what must hold -----------------------------------------------------------------------

    def check(self) -> None:
        for end in (self.opener, self.callee):
            self.check_values(end)
            self.check_credit(end)

    def check_values(self, receiver: End) -> None:
        """In order, none twice; none missing but what is under way, or came when nobody was there."""
        sender = self.other(receiver)
        inbox = receiver.dialog.inbox
        held = [] if inbox is None else [bytes(raw) for raw, _ in inbox.values]
        arrived = receiver.taken + held
        assert sender.sent[: len(arrived)] == arrived
        deaf = receiver.cut or (receiver is self.callee and receiver.dialog.done)
        if not deaf and not sender.cut:
            under_way = [bytes(msg.pld) for msg in receiver.queue if isinstance(msg, m.Yield)]
            assert sender.sent == arrived + under_way

    def check_credit(self, sender: End) -> None:
        """Every message and byte of the window is somewhere, and nowhere twice."""
        receiver = self.other(sender)
        window = sender.dialog.send_window
        if window is None or sender.cut or receiver.cut or receiver.dialog.done or sender.dialog.done:
            return
        inbox = receiver.dialog.inbox
        opened = receiver.dialog.opened and not any(isinstance(msg, m.Open) for msg in sender.queue)
        full = inbox.window if opened and inbox is not None else DEFAULT_WINDOW
        assert (full.messages, full.size) == (window._full.messages, window._full.size)
        granted = [msg for msg in sender.queue if isinstance(msg, m.Credit)]
        flying = [len(memoryview(msg.pld)) for msg in receiver.queue if isinstance(msg, m.Yield)]
        messages = window.messages + len(flying) + sum(grant.messages for grant in granted)
        size = window.size + sum(flying) + sum(grant.size for grant in granted)
        if inbox is not None:
            held = [] if inbox._unbounded else [size for _, size in inbox.values]
            messages += len(held) + inbox._owed_messages
            size += sum(held) + inbox._owed_size
        assert (messages, size) == (full.messages, full.size)

    def settle(self) -> None:
        """Deliver everything, and take everything, until nothing moves."""
        while self.opener.queue or self.callee.queue:
            for end in (self.opener, self.callee):
                if end.queue:
                    self.deliver(end)
                self.take_all(end)
        for end in (self.opener, self.callee):
            self.take_all(end)
        if self.opener.queue or self.callee.queue:
            self.settle()

    def check_flow(self) -> None:
        """When the receiver has taken everything, the next value may go, however large."""
        self.settle()
        for end in (self.opener, self.callee):
            other = self.other(end)
            if end.dialog.can_send() and not (end.cut or other.cut or other.dialog.done):
                assert end.could_send(1) and end.could_send(1 << 40), f"{end.side.value} is stuck"

    def check_end(self) -> None:
        """Once the callee has ended, and both have heard everything, it is over and they agree."""
        self.finish("the end")
        self.settle()
        opener, callee = self.opener, self.callee
        if callee.cut and not opener.cut:
            self.sever(opener)
        if opener.cut and not callee.cut:
            self.sever(callee)
        assert opener.dialog.done and callee.dialog.done
        outcome = opener.dialog.outcome
        if outcome is None:
            assert opener.dialog.cut_error is not None
        else:
            assert self.verdict is not None and opener.dialog.cut_error is None
            assert CODEC.encode(outcome) == CODEC.encode(self.verdict)
        if not opener.cut and not callee.cut:
            assert outcome is not None
            assert opener.taken == callee.sent
