"""Frames through a pair of pipes."""

from __future__ import annotations

import os
from collections.abc import Sequence

import trio
from trio.lowlevel import checkpoint, notify_closing, wait_readable, wait_writable

from tractor_core.errors import TransportClosed
from tractor_core.seams import Address, Buffer, FrameSplitter, PeerFacts, pack_header

#: Bytes asked for by a read: what a pipe holds.
READ_SIZE = 64 * 1024
#: Bytes joined into one write.
BATCH_SIZE = 64 * 1024


class FifoConnection:
    """Implements ``tractor_core.seams.Connection``; owns both descriptors."""

    def __init__(self, reader: int, writer: int, local: Address, remote: Address, max_frame: int) -> None:
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        self.local = local
        self.remote = remote
        self.facts = PeerFacts(same_host=True)
        self.max_send_frame: int | None = None
        self.established = False
        self._reader = reader
        self._writer = writer
        self._splitter = FrameSplitter(max_frame)
        self._unsent = memoryview(b"")
        self._closed = False

    def __repr__(self) -> str:
        return f"<FifoConnection {self.local} -> {self.remote} {'closed' if self._closed else 'open'}>"

    @property
    def max_frame(self) -> int:
        """Largest frame accepted from the peer (bytes)."""
        return self._splitter.max_frame

    @max_frame.setter
    def max_frame(self, value: int) -> None:
        self._splitter.max_frame = value

    @property
    def pending(self) -> bool:
        """Whether something that was taken is not written yet."""
        return bool(self._unsent)

    def send_nowait(self, frames: Sequence[Buffer]) -> int:
        """Write batch after batch, until the pipe is full."""
        if self._closed:
            raise self._closed_error()
        taken = 0
        while taken < len(frames) and not self._unsent:
            batch = bytearray()
            while taken < len(frames) and (not batch or len(batch) + len(frames[taken]) < BATCH_SIZE):
                batch += pack_header(len(frames[taken]))
                batch += frames[taken]
                taken += 1
            self._unsent = memoryview(batch)
            self._write()
        return taken

    async def flush(self) -> None:
        """Wait until the pipe has taken the rest."""
        await checkpoint()
        while self._unsent or self._closed:
            if self._closed:
                raise self._closed_error()
            await wait_writable(self._writer)
            if not self._closed:
                self._write()

    async def receive(self) -> Sequence[Buffer]:
        """Wait for frames."""
        await checkpoint()
        frames = self._splitter.feed(b"") if self._splitter.stalled and not self._closed else []
        while not frames:
            if self._closed:
                raise self._closed_error()
            target = self._splitter.target
            try:
                if target is None:
                    data = os.read(self._reader, READ_SIZE)
                    count, frames = len(data), self._splitter.feed(data)
                else:
                    count = os.readv(self._reader, [target])
                    frames = self._splitter.filled(count)
            except BlockingIOError:
                await wait_readable(self._reader)
                continue
            if not count and not frames:
                return self._ended()
        return frames

    def abort(self) -> None:
        """Close both pipes now. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._unsent = memoryview(b"")
        for descriptor in (self._reader, self._writer):
            notify_closing(descriptor)
            os.close(descriptor)

    async def aclose(self) -> None:
        """Write what needs no waiting and close; what is in the pipe stays there for the peer."""
        if not self._closed:
            try:
                self._write()
            except TransportClosed:
                pass
            finally:
                self.abort()
        await checkpoint()

    def _write(self) -> None:
        try:
            while self._unsent:
                self._unsent = self._unsent[os.write(self._writer, self._unsent) :]
        except BlockingIOError:
            return
        except OSError as exc:
            raise TransportClosed(f"connection to {self.remote} broke: {exc}", src_exc=exc) from exc

    def _ended(self) -> Sequence[Buffer]:
        if self._splitter.mid_frame:
            raise TransportClosed(f"{self.remote} closed in the middle of a frame")
        return ()

    def _closed_error(self) -> trio.ClosedResourceError:
        return trio.ClosedResourceError(f"the connection to {self.remote} was closed here")
