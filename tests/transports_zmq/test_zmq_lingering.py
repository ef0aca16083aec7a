"""The thread that sees closed sockets off ends their context, once."""

from __future__ import annotations

import threading
from types import TracebackType

import pytest

from tractor_zmq.lingering import Farewell, Lingering


class Ended(Farewell):
    """A socket that is closed at once."""

    def __init__(self) -> None:
        pass

    def try_to_end(self) -> bool:
        return True


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
    lingering = Lingering(lambda: ended.append(threading.current_thread().name))
    monkeypatch.setattr(lingering, "_lock", Lock(lingering))
    lingering.take(Ended())
    join_all()
    join_all()
    assert len(ended) == 1


def test_the_thread_comes_again_for_the_next() -> None:
    ended: list[str] = []
    lingering = Lingering(lambda: ended.append(""))
    for _ in range(2):
        lingering.take(Ended())
        join_all()
    assert not ended
    lingering.finish()
    join_all()
    assert len(ended) == 1
