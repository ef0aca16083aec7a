"""Log lines about what peers do wrong, which no peer can make too many."""

from __future__ import annotations

import logging
from typing import NoReturn

import msgspec
import trio

# Sources told apart within one second; the rest share a line. Bounds the table, not the service.
_MAX_SOURCES = 1024
_OTHERS = "others"


class _Source(msgspec.Struct):
    since: float
    more: int = 0


class QuietLog:
    """One log line per source and second, then how many more there were.

    A flood of bad peers, or of one peer's faults, must not become a flood of lines: the stream they go to may
    be a pipe that nobody empties, and writing to it would stop the whole loop. ``more`` is the line with the
    count: a format of a number, a source and seconds.
    """

    #: Length of the window in which one source gets one line (seconds).
    period = 1.0

    def __init__(self, log: logging.Logger, more: str, *, others: str = _OTHERS) -> None:
        self._log = log
        self._more = more
        self._others = others
        self._sources: dict[str, _Source] = {}
        self._wake = trio.Event()

    def warning(self, source: str, message: str, *args: object) -> None:
        """Log ``message % args`` about ``source``, now or in the count."""
        if self._is_first(source):
            self._log.warning(message, *args)

    def error(self, source: str, error: BaseException, message: str, *args: object) -> None:
        """The same at level ERROR, with the traceback of ``error``."""
        if self._is_first(source):
            self._log.error(message, *args, exc_info=error)

    def _is_first(self, source: str) -> bool:
        if source not in self._sources and len(self._sources) >= _MAX_SOURCES:
            source = self._others
        seen = self._sources.get(source)
        if seen is not None:
            seen.more += 1
            return False
        self._sources[source] = _Source(trio.current_time())
        self._wake.set()
        return True

    async def run(self) -> NoReturn:
        """Close the windows as they end and log their counts; for as long as notes are taken."""
        try:
            while True:
                await self._wake.wait()
                self._wake = trio.Event()
                while self._sources:
                    oldest = min(source.since for source in self._sources.values())
                    await trio.sleep_until(oldest + self.period)
                    self._close(trio.current_time() - self.period)
        finally:
            self._close(trio.current_time())

    def _close(self, until: float) -> None:
        for key in [key for key, source in self._sources.items() if source.since <= until]:
            more = self._sources.pop(key).more
            if more:
                self._log.warning(self._more, more, key, self.period)
