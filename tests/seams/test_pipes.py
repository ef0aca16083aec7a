"""Writing what another process reads in its own time."""

from __future__ import annotations

import os

import pytest
import trio
import trio.testing

from tractor_core.seams.pipes import write_all

MORE_THAN_A_PIPE_HOLDS = bytes(range(256)) * 2000


def read_some(read_end: int) -> bytes:
    return os.read(read_end, 1 << 16)


async def test_all_of_it_arrives_though_the_reader_comes_late() -> None:
    read_end, write_end = os.pipe()
    received = b""
    async with trio.open_nursery() as tasks:
        tasks.start_soon(write_all, write_end, MORE_THAN_A_PIPE_HOLDS)
        await trio.testing.wait_all_tasks_blocked()
        while len(received) < len(MORE_THAN_A_PIPE_HOLDS):
            received += await trio.to_thread.run_sync(read_some, read_end)
    assert received == MORE_THAN_A_PIPE_HOLDS
    os.close(read_end)
    os.close(write_end)


@pytest.mark.parametrize("moment", ["before", "while"])
async def test_a_reader_that_ends_is_no_error(moment: str) -> None:
    read_end, write_end = os.pipe()
    if moment == "before":
        os.close(read_end)
        await write_all(write_end, b"nobody reads this")
    else:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(write_all, write_end, MORE_THAN_A_PIPE_HOLDS)
            await trio.testing.wait_all_tasks_blocked()
            os.close(read_end)
    os.close(write_end)


async def test_a_reader_that_does_not_read_is_left_when_cancelled() -> None:
    read_end, write_end = os.pipe()
    with trio.move_on_after(0.05) as scope:
        await write_all(write_end, MORE_THAN_A_PIPE_HOLDS)
    assert scope.cancelled_caught
    os.close(read_end)
    os.close(write_end)
