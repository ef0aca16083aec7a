"""What a template does before it forks: it runs what actors run, and puts that code together."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterator
from types import FrameType

import pytest

from tractor_forkserver.practice import _called_by, move_together, practise


def outer(start: int) -> Callable[[], Iterator[int]]:
    """A function that makes others when it runs."""

    def inner() -> Iterator[int]:
        yield from [start + number for number in range(3)]

    return inner


def other(value: int = 4, *, scale: int = 2) -> int:
    """One with defaults."""
    return value * scale


def test_code_that_ran_is_copied_with_what_it_makes_and_runs_as_before() -> None:
    before = outer.__code__
    called = _called_by(lambda: [*outer(5)()])
    assert before in called and other.__code__ not in called
    unmoved = other.__code__
    move_together([outer, other], called)
    assert outer.__code__ is not before and outer.__code__.co_filename == __file__
    assert other.__code__ is unmoved
    inner = outer(5)
    assert [*inner()] == [5, 6, 7]
    assert any(inner.__code__ is each for each in outer.__code__.co_consts)
    assert all(inner.__code__ is not each for each in called), "it is the copy that is run now"


def test_defaults_stay() -> None:
    move_together([other], [other.__code__])
    assert other() == 8 and other(1, scale=3) == 3


def test_code_that_somebody_watches_stays_where_it_is() -> None:
    code = other.__code__
    watched = weakref.ref(code)
    move_together([other], [code])
    assert other.__code__ is code is watched()


def test_nobody_is_profiled_afterwards() -> None:
    def fail() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        _called_by(fail)
    assert sys.getprofile() is None


@pytest.mark.parametrize("watch", [sys.setprofile, sys.settrace])
def test_a_process_that_somebody_watches_is_left_alone(watch: Callable[[object], None]) -> None:
    def mine(frame: FrameType, event: str, argument: object) -> None:
        pass

    runs: list[int] = []
    before = sys.gettrace()
    watch(mine)
    try:
        practise(lambda: runs.append(1))
    finally:
        watch(None)
        sys.settrace(before)
    assert runs == []
