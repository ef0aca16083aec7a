"""The thread that sees closed sockets off ends their context, once."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any, cast

import pytest

from tractor_zmq import lingering
from tractor_zmq.lingering import Farewell, Lingering


class Ended(Farewell):
    """A socket that is closed at once."""

    def __init__(self) -> None:
        pass

    def try_to_end(self) -> bool:
        return True


class Unanswered(Farewell):
    """Of a peer that does not go, seen by a libzmq that does not notice anything."""

    def _has_gone(self) -> bool:
        return False

    def _discard(self) -> None:
        pass


class Stuck:
    """An outflow that never ends by itself."""

    def __init__(self, said: list[str]) -> None:
        self._said = said

    def has_left(self, now: float) -> bool:
        return False

    def hang_up(self) -> None:
        self._said.append("hung up")


def test_who_comes_late_hangs_up_and_waits_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread may not have got to run for longer than everything was to take."""
    said: list[str] = []
    now = [100.0]
    monkeypatch.setattr(lingering.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(lingering, "close", lambda *_: said.append("closed"))
    farewell = Unanswered(cast(Any, None), cast(Any, None), cast(Any, Stuck(said)), 500)
    now[0] += 60
    assert not farewell.try_to_end() and said == ["hung up"]
    now[0] += lingering.GOING - 0.1
    assert not farewell.try_to_end() and said == ["hung up"]
    now[0] += 0.2
    assert farewell.try_to_end() and said == ["hung up", "closed"]


class Lock:
    """Lets the test act at the moment in which the thread has found that nothing is left to do."""

    def __init__(self, lingering: Lingering) -> None:
        self._lock = threading.Lock()
        self._lingering = lingering
        self._acted = False

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()
        if not (self._acted or self._lingering._at_work):
            self._acted = True
            self._lingering.finish()


def join_all() -> None:
    for thread in threading.enumerate():
        if thread.name == "tractor_zmq linger":
            thread.join(5)


def test_the_context_is_ended_once_whenever_its_last_user_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []
    thread = Lingering(lambda: ended.append(threading.current_thread().name))
    monkeypatch.setattr(thread, "_lock", Lock(thread))
    thread.take(Ended())
    join_all()
    join_all()
    assert len(ended) == 1


def test_the_thread_comes_again_for_the_next() -> None:
    ended: list[str] = []
    thread = Lingering(lambda: ended.append(""))
    for _ in range(2):
        thread.take(Ended())
        join_all()
    assert not ended
    thread.finish()
    join_all()
    assert len(ended) == 1
