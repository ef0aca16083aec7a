"""What is raised in place of an exception group."""

from __future__ import annotations

import traceback

import pytest
import trio

from tractor_core.trionics import (
    collapse,
    collapse_eg,
    is_multi_cancelled,
    maybe_raise_from_masking_exc,
)


def make_cancelled() -> trio.Cancelled:
    """A real Cancelled, which only trio can make."""

    async def main() -> trio.Cancelled:
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await trio.lowlevel.checkpoint()
            except trio.Cancelled as exc:
                return exc
        raise AssertionError("was not cancelled")

    return trio.run(main)


def test_a_bare_error_is_left_alone() -> None:
    error = ValueError("x")
    assert collapse(error) is error


def test_nested_groups_of_one_become_their_leaf() -> None:
    error = KeyboardInterrupt()
    assert collapse(BaseExceptionGroup("a", [BaseExceptionGroup("b", [error])])) is error


def test_several_errors_stay_the_same_group() -> None:
    group = ExceptionGroup("a", [ValueError(1), TypeError(2)])
    assert collapse(group) is group
    assert collapse(ExceptionGroup("outer", [group])) is group


def test_one_error_in_two_places_is_one_error() -> None:
    error = ValueError("x")
    assert collapse(ExceptionGroup("a", [error, ExceptionGroup("b", [error])])) is error


def test_cancellation_beside_errors_is_dropped() -> None:
    cancelled = make_cancelled()
    error = ValueError("x")
    inner = BaseExceptionGroup("b", [error, cancelled])
    assert collapse(BaseExceptionGroup("a", [cancelled, inner])) is error

    several = collapse(BaseExceptionGroup("a", [cancelled, error, TypeError(2)]))
    assert isinstance(several, ExceptionGroup)
    assert [type(leaf) for leaf in several.exceptions] == [ValueError, TypeError]


def test_only_cancellation_becomes_one_cancelled() -> None:
    cancelled = make_cancelled()
    inner = BaseExceptionGroup("b", [make_cancelled()])
    assert collapse(BaseExceptionGroup("a", [cancelled, inner])) is cancelled


async def test_nursery_error_comes_out_bare_with_its_own_chain() -> None:
    cause = KeyError("cause")

    async def fail() -> None:
        raise ValueError("from a task") from cause

    with pytest.raises(ValueError, match="from a task") as caught:
        async with collapse_eg(), trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            await trio.sleep_forever()
    assert caught.value.__cause__ is cause
    assert not isinstance(caught.value.__context__, BaseExceptionGroup)
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert names[-1] == "fail"


async def test_error_context_is_kept() -> None:
    async def fail() -> None:
        try:
            raise KeyError("first")
        except KeyError:
            raise ValueError("second")  # noqa: B904 - the implicit context is what is tested

    with pytest.raises(ValueError) as caught:
        async with collapse_eg(), trio.open_nursery() as nursery:
            nursery.start_soon(fail)
    assert isinstance(caught.value.__context__, KeyError)
    assert caught.value.__cause__ is None


async def test_cancelled_scope_outside_still_catches() -> None:
    with trio.CancelScope() as scope:
        async with collapse_eg(), trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(trio.sleep_forever)
            scope.cancel()
    assert scope.cancelled_caught


async def test_error_while_cancelled_passes_the_scope() -> None:
    async def fail_in_cleanup() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("cleanup")

    with pytest.raises(ValueError, match="cleanup"), trio.CancelScope() as scope:
        async with collapse_eg(), trio.open_nursery() as nursery:
            nursery.start_soon(fail_in_cleanup)
            nursery.start_soon(trio.sleep_forever)
            scope.cancel()


def test_works_as_a_plain_context_manager() -> None:
    with pytest.raises(ValueError), collapse_eg():
        raise ExceptionGroup("a", [ValueError(1)])
    with pytest.raises(ExceptionGroup) as caught, collapse_eg():
        raise ExceptionGroup("a", [ValueError(1), TypeError(2)])
    assert len(caught.value.exceptions) == 2
    with collapse_eg():
        pass


def test_is_multi_cancelled() -> None:
    cancelled = make_cancelled()
    nested = BaseExceptionGroup("a", [cancelled, BaseExceptionGroup("b", [cancelled])])
    assert is_multi_cancelled(nested)
    assert not is_multi_cancelled(cancelled)
    mixed = BaseExceptionGroup("a", [cancelled, ValueError(1)])
    assert not is_multi_cancelled(mixed)
    assert is_multi_cancelled(mixed, ignore=ValueError)
    assert not is_multi_cancelled(ExceptionGroup("a", [ValueError(1)]), ignore=ValueError)


async def test_masked_error_is_raised() -> None:
    with pytest.raises(ValueError, match="the real one") as caught, trio.CancelScope() as scope:
        async with maybe_raise_from_masking_exc():
            try:
                scope.cancel()
                raise ValueError("the real one")
            finally:
                await trio.lowlevel.checkpoint()
    assert not isinstance(caught.value.__context__, trio.Cancelled)
    assert any("Cancelled" in note for note in caught.value.__notes__)


async def test_plain_cancellation_is_not_touched() -> None:
    with trio.CancelScope() as scope:
        async with maybe_raise_from_masking_exc():
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert scope.cancelled_caught


async def test_other_masking_types_can_be_named() -> None:
    with pytest.raises(ValueError):
        async with maybe_raise_from_masking_exc(unmask_from=(trio.Cancelled, OSError)):
            try:
                raise ValueError("the real one")
            finally:
                raise OSError("while closing")


async def test_an_explicit_cause_is_respected() -> None:
    with pytest.raises(OSError):
        async with maybe_raise_from_masking_exc(unmask_from=OSError):
            try:
                raise ValueError("low")
            except ValueError as exc:
                raise OSError("high") from exc


async def test_an_error_handled_outside_is_not_raised_again() -> None:
    with trio.CancelScope() as scope:
        try:
            raise KeyError("handled here")
        except KeyError:
            async with maybe_raise_from_masking_exc():
                scope.cancel()
                await trio.lowlevel.checkpoint()
    assert scope.cancelled_caught
