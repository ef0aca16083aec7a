"""Large messages under way at once: never more than an honest receiver holds."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tractor_core.ipc import sending
from tractor_core.ipc.sending import SendingHalf
from tractor_core.msg.codec import wire_codec
from tractor_core.msg.types import Chunk
from tractor_core.protocol.chunks import WHOLE_UP_TO, Joiner
from tractor_core.seams import Buffer

CODEC = wire_codec()


class Pipe:
    """Takes everything and keeps it."""

    pending = False
    max_send_frame = None

    def __init__(self) -> None:
        self.frames: list[bytes] = []

    def send_nowait(self, frames: Sequence[Buffer]) -> int:
        self.frames += map(bytes, frames)
        return len(frames)


@pytest.mark.parametrize("sizes", [[9, 9, 9, 9], [20, 3, 3, 3], [3, 20, 3, 20], [5], [1, 1, 1, 1, 1, 1]])
async def test_what_is_unfinished_fits_the_receiver(
    sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    unit = WHOLE_UP_TO
    monkeypatch.setattr(sending, "UNFINISHED_MAX", 4 * unit)
    pipe = Pipe()
    half = SendingHalf(pipe, CODEC.encode)  # type: ignore[arg-type]
    for index, size in enumerate(sizes):
        half.post_frame(bytes([index]) * (size * unit + 1), index)
    await half._flush_all()
    # The receiver's budget is what the sender keeps to, and the count of each message besides.
    joiner = Joiner(limit=100 * unit, budget=4 * unit + 512 * len(sizes))
    whole = {}
    for frame in pipe.frames:
        chunk = CODEC.decode(frame)
        assert isinstance(chunk, Chunk)
        message = joiner.add(chunk)
        if message is not None:
            whole[chunk.cid] = message
    assert {cid: len(message) for cid, message in whole.items()} == {
        index: size * unit + 1 for index, size in enumerate(sizes)
    }
    assert all(set(message) == {cid} for cid, message in whole.items())


async def test_two_that_fit_take_turns() -> None:
    pipe = Pipe()
    half = SendingHalf(pipe, CODEC.encode)  # type: ignore[arg-type]
    half.post_frame(b"a" * (WHOLE_UP_TO * 4), 0)
    half.post_frame(b"b" * (WHOLE_UP_TO * 4), 2)
    await half._flush_all()
    order = [CODEC.decode(frame).cid for frame in pipe.frames]  # type: ignore[union-attr]
    assert order == [0, 2] * (len(order) // 2)
