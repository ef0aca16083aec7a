"""A WebSocket that an ASGI server has opened, as a :class:`~tractor_websocket.MessageSocket`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

import trio

from .connection import ABNORMAL, GOODBYE, SocketEnded
from .rules import as_frame

Event: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Event]]
Send: TypeAlias = Callable[[Event], Awaitable[None]]

_NO_CODE = 1005


class AsgiSocket:
    """Text or binary messages through an application's ``receive`` and ``send``.

    The application runs :meth:`pump` for as long as it is used.
    """

    def __init__(self, receive: Receive, send: Send, *, text: bool) -> None:
        self._receive = receive
        self._send = send
        self._text = text
        self._reading = trio.Lock()
        self._post: trio.MemorySendChannel[tuple[Event, trio.Event]]
        self._post, self._posted = trio.open_memory_channel[tuple[Event, trio.Event]](0)
        self._left = False
        self._end: tuple[int, str, Exception | None] | None = None

    async def pump(self) -> None:
        """Give the server what is sent, one by one.

        Servers shield what they write, and may write for as long as a peer does not read. Whoever waits for
        that in :meth:`send` can be cancelled nevertheless.
        """
        with self._posted:
            async for event, done in self._posted:
                try:
                    await self._send(event)
                except OSError as error:  # says that the peer has gone
                    self._note_end(ABNORMAL, "", error)
                finally:
                    done.set()

    async def send(self, frame: bytes) -> None:
        """Send one message; returns when the server has taken it."""
        if self._end is not None or self._left:
            raise self._ended()
        if self._text:
            await self._put({"type": "websocket.send", "text": frame.decode()})
        else:
            await self._put({"type": "websocket.send", "bytes": frame})

    async def receive(self) -> bytes:
        """The next message; one that may not come ends the WebSocket, with the code that says why."""
        event = await self._next_event()
        message = event.get("bytes")
        try:
            return as_frame(event["text"] if message is None else message, text=self._text)
        except SocketEnded as ended:
            await self.leave(ended.code, ended.reason)
            raise

    async def close(self) -> None:
        """Say goodbye and wait for the peer's."""
        try:
            await self._say_goodbye(1000, "")
        except SocketEnded:
            pass

    async def leave(self, code: int, reason: str) -> None:
        """The same with another code and within ``GOODBYE`` seconds; nothing where it is closed already.

        Shielded: nobody else would remember why.
        """
        with trio.move_on_after(GOODBYE, shield=True):
            try:
                await self._say_goodbye(code, reason)
            except SocketEnded:
                pass

    async def _next_event(self) -> Event:
        async with self._reading:
            if self._end is None:
                event = await self._receive()
                if event["type"] != "websocket.disconnect":
                    return event
                self._note_end(event.get("code") or _NO_CODE, event.get("reason") or "")
        raise self._ended()

    async def _say_goodbye(self, code: int, reason: str) -> None:
        if self._end is not None or self._left:
            return
        self._left = True
        await self._put({"type": "websocket.close", "code": code, "reason": reason})
        # What the peer sends before it has heard is dropped; unread, it could cost it what it has not read.
        while True:
            await self._next_event()

    async def _put(self, event: Event) -> None:
        done = trio.Event()
        try:
            await self._post.send((event, done))
        except trio.BrokenResourceError:
            raise SocketEnded(ABNORMAL) from None
        await done.wait()
        if self._end is not None:
            raise self._ended()

    def _note_end(self, code: int, reason: str, fault: Exception | None = None) -> None:
        if self._end is None:
            self._end = (code, reason, fault)

    def _ended(self) -> SocketEnded:
        return SocketEnded(*(self._end or (ABNORMAL, "", None)))
