"""Another ``fifo:`` transport, in memory."""

from __future__ import annotations

from tractor_core.testing import MemTransport


class RivalTransport(MemTransport):
    """It is never used: that there are two is what matters."""

    schemes = ("fifo",)


transport = RivalTransport()
